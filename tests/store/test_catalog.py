from __future__ import annotations

import dataclasses
import re
import sqlite3
import threading

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from workbench.store import campaigns, catalog, files, schema, versions
from workbench.store.errors import StoreError


@pytest.fixture
def opened(tmp_path):
    made = catalog.connect(tmp_path)
    catalog.migrate(made)
    yield made
    made.close()


def root(path: str) -> sa.Insert:
    return sa.insert(schema.image_roots).values(path=path)


def test_migrate__gives_the_tables_of_the_schema(opened):
    with opened.read() as connection:
        assert compare_metadata(MigrationContext.configure(connection), schema.metadata) == []
        indexes = {i["name"] for t in schema.metadata.tables for i in sa.inspect(connection).get_indexes(t)}
    assert indexes >= {i.name for t in schema.metadata.tables.values() for i in t.indexes}


def test_migrate__known_revisions_are_those_of_the_migrations(tmp_path):
    config = Config()
    config.set_main_option("script_location", "workbench/store/migrations")
    config.set_main_option("path_separator", "os")
    found = [script.revision for script in ScriptDirectory.from_config(config).walk_revisions()]
    assert tuple(reversed(found)) == schema.REVISIONS


def test_migrate__twice_changes_nothing(opened):
    with opened.write() as connection:
        connection.execute(root("a"))
    catalog.migrate(opened)
    with opened.read() as connection:
        assert connection.execute(sa.select(schema.image_roots.c.path)).scalars().all() == ["a"]


def test_migrate__a_claim_of_the_version_before_windows_stays(tmp_path):
    config = Config()
    config.set_main_option("script_location", "workbench/store/migrations")
    config.set_main_option("path_separator", "os")
    made = catalog.connect(tmp_path)
    row = "INSERT INTO review_images (image_key, status, token, expires_at, kind) VALUES (1, 'open', 7, 0, 'flagged')"
    with made.write() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0005")
        connection.execute(root("a"))
        connection.execute(sa.insert(schema.images).values(root_id=1, path="a.png", domain=""))
        connection.execute(sa.text(row))
    catalog.migrate(made)
    with made.read() as connection:
        table = schema.review.review_images
        assert connection.execute(sa.select(table.c.token, table.c.held_in)).all() == [(7, None)]
    made.close()


def test_migrate__campaigns_and_versions_take_the_turns_that_clocks_gave_them(tmp_path):
    config = Config()
    config.set_main_option("script_location", "workbench/store/migrations")
    config.set_main_option("path_separator", "os")
    made = catalog.connect(tmp_path)
    model = (
        "INSERT INTO model_versions (model_id, parent_id, architecture, status, message, file, digest, settings, curve, checks, "
        "images, masks, steps, best_step, stopped, seconds, made_by, made_at) "
        "VALUES ('{0}', 'p', 'sam', 'ready', '', '', '{0}', '{{}}', '[]', '{{}}', 1, 1, 1, 1, 'steps', 1, '', '2026-01-0{1}')"
    )
    campaign = "INSERT INTO campaigns (id, digest, settings, model_id, held_out, made_at) VALUES ({0}, '{0}', '{{}}', 'p', '[]', '2026-01-0{1}')"
    cycle = (
        "INSERT INTO cycles (campaign_id, number, step, model_id, trained_id, train, calibration, state, begun_at, changed_at) "
        "VALUES (1, 1, 'done', 'p', '', '[]', '[]', '{}', '', '2026-01-09')"
    )
    with made.write() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0006")
        for name in ("b", "a"):
            connection.execute(sa.insert(schema.models).values(model_id=name, added_at=""))
        for row in (model.format("b", 1), model.format("a", 2), campaign.format(1, 1), campaign.format(2, 2), cycle):
            connection.execute(sa.text(row))
    catalog.migrate(made)
    assert campaigns.find(made).id == 1  # a later cycle counts for more than a later beginning
    assert versions.frame(made)["model_id"].tolist() == ["b", "a"]
    assert versions.latest(made).model_id == "a"
    made.close()


def test_campaign__the_last_is_the_one_that_was_taken_up_last_whatever_clocks_say(opened, monkeypatch):
    first = campaigns.begin(opened, "first", {}, "m", [])
    monkeypatch.setattr(campaigns, "now", lambda: "1999-01-01T00:00:00")
    second = campaigns.begin(opened, "second", {}, "m", [])
    assert campaigns.find(opened).id == second.id
    campaigns.take_up(opened, first.id)
    assert campaigns.find(opened).id == first.id  # it has no cycle yet
    campaigns.add(opened, second.id, 1, "m", [], [], {})
    campaigns.take_up(opened, second.id)
    assert campaigns.find(opened).id == second.id


def test_version__one_that_is_judged_again_keeps_its_time_and_its_place(opened, monkeypatch):
    def version(name: str) -> versions.ModelVersion:
        return versions.ModelVersion(name, "p", "sam", "ready", "", "", name, {}, [], {}, 1, 1, 1, 1, "steps", 1.0)

    first = versions.keep(opened, version("z"), [])
    monkeypatch.setattr(versions, "now", lambda: "1999-01-01T00:00:00")
    versions.keep(opened, version("a"), [])
    assert versions.latest(opened).model_id == "a"
    again = versions.keep(opened, dataclasses.replace(first, message="judged anew"), [])
    assert (again.made_at, again.message) == (first.made_at, "judged anew")
    assert versions.latest(opened).model_id == "a"
    assert versions.frame(opened)["model_id"].tolist() == ["z", "a"]


def test_migrate__newer_version_is_refused(opened):
    with opened.write() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(StoreError, match="made by a newer workbench"):
        catalog.migrate(opened)


def test_migrate__failing_half_way_leaves_nothing(tmp_path, monkeypatch):
    made = catalog.connect(tmp_path)
    monkeypatch.setattr("alembic.op.create_index", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        catalog.migrate(made)
    with made.read() as connection:
        assert sa.inspect(connection).get_table_names() == []
    made.close()


def test_connect__sqlite_is_durable_and_checkpoints_only_when_told(opened):
    with opened.read() as connection:
        found = {p: connection.exec_driver_sql(f"PRAGMA {p}").scalar() for p in PRAGMAS}
    assert found == PRAGMAS


PRAGMAS = {
    "journal_mode": "wal",
    "synchronous": 2,  # FULL
    "foreign_keys": 1,
    "busy_timeout": 30_000,
    "wal_autocheckpoint": 0,
    "mmap_size": 0,
}


def test_connect__bad_url_says_what_is_expected(tmp_path):
    with pytest.raises(StoreError, match="expected a URL like"):
        catalog.connect(tmp_path, "no url")


def test_connect__missing_driver_says_what_to_install(tmp_path):
    with pytest.raises(StoreError, match="pip install"):
        catalog.connect(tmp_path, "mysql+mysqldb://host/name")


def test_write__is_undone_by_an_error(opened):
    with pytest.raises(ZeroDivisionError), opened.write() as connection:
        connection.execute(root(str(1 / (connection.execute(root("a")).rowcount - 1))))
    with opened.read() as connection:
        assert connection.execute(sa.select(schema.image_roots)).all() == []


def test_write__writers_take_turns_so_that_look_then_write_is_safe(opened):
    def add() -> None:
        for _ in range(10):
            with opened.write() as connection:
                n = connection.execute(sa.select(sa.func.count()).select_from(schema.image_roots)).scalar_one()
                connection.execute(root(str(n)))

    threads = [threading.Thread(target=add) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with opened.read() as connection:
        found = connection.execute(sa.select(schema.image_roots.c.path)).scalars().all()
    assert sorted(map(int, found)) == list(range(40))


def test_write__busy_for_too_long_is_said_in_words(opened, monkeypatch, tmp_path):
    monkeypatch.setattr(catalog, "BUSY_TIMEOUT_MS", 20)
    other = catalog.connect(tmp_path)
    with opened.write(), pytest.raises(StoreError, match="another process has been writing"), other.write():
        pass
    other.close()


def test_read__is_not_stopped_by_a_writer(opened):
    with opened.write() as writer:
        writer.execute(root("a"))
        with opened.read() as reader:
            assert reader.execute(sa.select(schema.image_roots)).all() == []


def test_foreign_keys__are_enforced(opened):
    with pytest.raises(sa.exc.IntegrityError), opened.write() as connection:
        connection.execute(sa.insert(schema.image_files).values(image_key=5, root_id=6, path="a"))


def test_close__folds_the_log_into_the_database(opened, tmp_path):
    with opened.write() as connection:
        connection.execute(root("a"))
    assert (tmp_path / f"{catalog.FILE}-wal").stat().st_size > 0
    opened.close()
    assert not (tmp_path / f"{catalog.FILE}-wal").exists()
    alone = sqlite3.connect(tmp_path / catalog.FILE)
    assert alone.execute("SELECT path FROM image_roots").fetchall() == [("a",)]
    alone.close()


def test_checkpoint__is_left_to_the_process_that_is_at_it(opened, tmp_path):
    with opened.write() as connection:
        connection.execute(root("a"))
    before = (tmp_path / f"{catalog.FILE}-wal").stat().st_size
    with files.locked(tmp_path / "checkpoint.lock", busy="busy"):
        opened.checkpoint()
    assert (tmp_path / f"{catalog.FILE}-wal").stat().st_size == before
    opened.checkpoint()
    assert (tmp_path / f"{catalog.FILE}-wal").stat().st_size == 0


def test_open__damaged_file_is_said_in_words(tmp_path):
    (tmp_path / catalog.FILE).write_bytes(b"no database at all, only text" * 300)
    made = catalog.connect(tmp_path)
    with pytest.raises(StoreError, match="is damaged"):
        catalog.migrate(made)


def test_faults__of_a_good_file_are_none(opened):
    assert opened.faults() == []


def test_now__is_utc_in_iso_8601():
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", catalog.now())
