"""Dashboards in Chromium: nothing is asked of other hosts, numbers are those of `triage`, work is seen by others."""

from __future__ import annotations

import json
import re
import sqlite3
import sys
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import TimeoutError as PlaywrightTimeout
from playwright.sync_api import expect

sys.path.insert(0, str(Path(__file__).parent))  # tests are imported by path

from disc_project import disc_project
from made_projects import made_project, review, two_domains, write_pictures
from serving import Watched, dashboard, panel_serve
from ui import drawn_project as scenes
from ui.pages import AnnotatorPage

import workbench as wb
from workbench.loop.plan import CycleConfig, fitting_floors
from workbench.train.settings import TrainConfig
from workbench.views.apps import _VIEWS

pytestmark = [pytest.mark.browser, pytest.mark.slow]
PAGES = list(_VIEWS)
EVIL = '"><img src=x onerror=alert(1)>'
# a text that is on each page when it has something to show, and when it has not
SHOWN = {
    "cycles": "Where the campaign stands",
    "calibration": "Not calibrated yet",
    "thresholds": "What these thresholds give",
    "review": "Every gesture is in the project's journal",
    "quality": "Nothing reviewed yet",
}


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    folder = tmp_path_factory.mktemp("small")
    with made_project(folder, images=6, rows=40, name=EVIL) as project:
        project.triage(wb.TriageConfig(predicted_iou=0.87), note=EVIL, author=EVIL)
    with dashboard(folder / "project", folder / "log.txt") as server:
        yield server, folder / "project"


@pytest.fixture(scope="module")
def empty(tmp_path_factory):
    folder = tmp_path_factory.mktemp("empty")
    wb.Project.create(folder / "project", images=str(write_pictures(folder / "pictures", 1))).close()
    with dashboard(folder / "project", folder / "log.txt") as server:
        yield server


@pytest.fixture
def reviewed(tmp_path):
    made_project(tmp_path, images=2, rows=20).close()
    with dashboard(tmp_path / "project", tmp_path / "log.txt") as server:
        yield server, tmp_path / "project"


def tile(page, name: str) -> int:
    """The large figure above a name."""
    text = page.locator(".tile", has_text=name).locator("b").first.inner_text()
    return int(text.replace(",", ""))


@pytest.mark.parametrize("name", PAGES)
def test_page__of_a_small_project_is_clean(small, page, name):
    watched = Watched(page, small[0])
    watched.open(name, until=SHOWN[name])
    page.wait_for_load_state("networkidle")
    watched.is_clean()


def test_panel_serve__shows_every_page_of_the_folder(tmp_path, page):
    made_project(tmp_path, images=3, rows=20, name="served by Panel").close()
    with panel_serve(tmp_path / "project", tmp_path / "log.txt") as server:
        for name in PAGES:
            watched = Watched(page, server)
            watched.open(name, until=SHOWN[name])
            watched.is_clean()
        page.goto(server.url)
        page.get_by_text(SHOWN["cycles"]).first.wait_for()


def test_page__can_be_read_before_its_scripts_have_come(small, page):
    page.route("**/*.js*", lambda route: route.abort())
    first = page.locator("#first .tile", has_text="distinct proposals")
    for _ in range(20):  # a server that was just started, or is busy, may send a page without
        page.goto(small[0].page("cycles"))
        if first.count():
            break
    assert first.count() == 1
    assert page.locator("#first nav a").count() == len(PAGES)
    with wb.Project.open(small[1]) as project:
        assert tile(page, "auto-accepted") == project.report().auto_accepted


def is_dark(page) -> bool:
    """Whether the page's ground is dark."""
    colours = page.evaluate("getComputedStyle(document.body).backgroundColor.match(/\\d+/g).slice(0, 3).map(Number)")
    return max(colours) < 64


def test_review__the_annotator_is_dark_where_the_page_is(reviewed, page):
    watched = Watched(page, reviewed[0])
    watched.open("review", until=SHOWN["review"])
    annotator = begin_review(page, "ann")
    ground = "e => getComputedStyle(e).backgroundColor.match(/\\d+/g).slice(0, 3).map(Number)"
    for wanted in (False, True):
        annotator.until(lambda dark=wanted: (max(annotator.root.evaluate(ground)) < 64) is dark, 20, "its colours")
        page.get_by_role("button", name="Toggle theme").click()
    watched.is_clean()


def test_theme__chosen_on_one_page_is_that_of_the_next(small, page, new_context):
    watched = Watched(page, small[0])
    watched.open("cycles", until=SHOWN["cycles"])
    for wanted, other in ((True, "thresholds"), (False, "quality")):
        assert is_dark(page) is not wanted
        page.get_by_role("button", name="Toggle theme").click()
        page.wait_for_function(f"document.cookie.includes('workbench-theme={'dark' if wanted else 'default'}')")
        page.get_by_role("link", name=other).first.click()
        page.wait_for_url(f"**/{other}*")
        page.get_by_text(SHOWN[other]).first.wait_for()
        page.wait_for_function("!document.getElementById('first')")
        assert is_dark(page) is wanted
    watched.is_clean()
    stranger = Watched(new_context().new_page(), small[0])
    stranger.open("cycles", until=SHOWN["cycles"])
    assert not is_dark(stranger.page)


@pytest.mark.parametrize("name", PAGES)
def test_page__of_an_empty_project_says_what_to_do(empty, page, name):
    watched = Watched(page, empty)
    watched.open(name, until="workbench propose")
    watched.is_clean()


def test_thresholds__keyboard_moves_a_slider_and_counts_are_those_of_triage(small, page):
    server, folder = small
    watched = Watched(page, server)
    watched.open("thresholds", "?predicted_iou=0.9", until=SHOWN["thresholds"])
    page.get_by_text("auto-accepted").first.wait_for()
    slider = page.get_by_role("slider").first
    slider.focus()
    for _ in range(6):
        page.keyboard.press("ArrowRight")
    page.wait_for_function("location.search.includes('predicted_iou=0.93')")
    with wb.Project.open(folder) as project:
        triaged = wb.triage(project.proposals(), project.triage_config().replace(predicted_iou=0.93))
    page.locator(".tile b", has_text=f"{triaged.counts()['auto_accepted']:,}").first.wait_for()
    assert tile(page, "auto-accepted") == triaged.counts()["auto_accepted"]
    assert tile(page, "flagged") == triaged.counts()["flagged"]
    assert tile(page, "discarded") == triaged.counts()["discarded"]
    watched.is_clean()


def test_thresholds__nonsense_in_the_address_is_words(small, page):
    watched = Watched(page, small[0])
    query = "?predicted_iou=%3Cscript%3Ealert(1)%3C/script%3E&pool=best&min_area_px=-5"
    watched.open("thresholds", query, until="which is no value for it here")
    watched.is_clean()


@pytest.mark.parametrize("tool", ["box", "lasso"])
def test_thresholds__a_region_of_the_heat_map_chooses_the_thresholds(small, page, tool):
    server, folder = small
    watched = Watched(page, server)
    watched.open("thresholds", until=SHOWN["thresholds"])
    heat = page.locator(".bk-Figure").first
    heat.wait_for()
    use = page.get_by_role("button", name="Accept from its lower left corner")
    for _ in range(10):  # the figure may still move when it is first dragged over
        heat.scroll_into_view_if_needed()
        if tool == "lasso":
            page.locator(".bk-tool-icon-lasso-select").first.click()
        drag_round(page, heat.bounding_box(), tool)
        try:
            use.wait_for(timeout=5_000)
            break
        except PlaywrightTimeout:
            continue
    said = page.get_by_text("In the region:").first.inner_text()
    iou, jitter = (round(float(n), 3) for n in re.findall(r"(?:IoU|stability) (\d\.\d+)", said))
    use.click()
    page.wait_for_function(
        "location.search.includes('predicted_iou=') && location.search.includes('jitter_stability=')"
    )
    asked = parse_qs(urlsplit(page.url).query)
    assert [float(asked[name][0]) for name in ("predicted_iou", "jitter_stability")] == [iou, jitter]
    with wb.Project.open(folder) as project:
        config = project.triage_config().replace(predicted_iou=iou, jitter_stability=jitter)
        counts = wb.triage(project.proposals(), config).counts()
    page.locator(".tile b", has_text=f"{counts['auto_accepted']:,}").first.wait_for()
    assert tile(page, "auto-accepted") == counts["auto_accepted"]
    watched.is_clean()


def drag_round(page, box, tool: str) -> None:
    """Drag over the middle of a figure: from corner to corner, or round a diamond."""
    corners = {
        "box": ((0.35, 0.3), (0.7, 0.7)),
        "lasso": ((0.35, 0.5), (0.5, 0.25), (0.7, 0.5), (0.5, 0.75), (0.36, 0.52)),
    }
    first, *others = [(box["x"] + box["width"] * x, box["y"] + box["height"] * y) for x, y in corners[tool]]
    page.mouse.move(*first)
    page.mouse.down()
    for point in others:
        page.mouse.move(*point, steps=8)
    page.mouse.up()


def test_review__a_gesture_in_the_browser_is_in_the_journal(reviewed, page):
    server, folder = reviewed
    watched = Watched(page, server)
    watched.open("review", until=SHOWN["review"])
    page.get_by_label("your name").fill("ann")
    page.keyboard.press("Tab")
    page.get_by_role("button", name="Review", exact=True).click()
    annotator = AnnotatorPage(page).wait()
    image = annotator.data("image")
    annotator.focus()
    annotator.press("n", "a")
    with wb.Project.open(folder) as project:
        journal = project.journal(image)
        verdicts = journal[journal["kind"] == "verdict"]
        assert verdicts["annotator"].tolist() == ["ann"]
        assert verdicts["payload"].tolist() == [{"verdict": "accept"}]
        assert verdicts["mask_id"].iloc[0] in project.image_review(image).masks.mask_id.tolist()
    watched.is_clean()
    page.close()
    with wb.Project.open(folder) as project:
        notebook = wb.Annotator(project, annotator="ann", sam=False)
        assert notebook.view["image"]["name"] == image
        columns = notebook.view["masks"]
        assert columns["verdict"][columns["id"].index(verdicts["mask_id"].iloc[0])] == "accept"
        notebook.close()


def begin_review(page, name: str) -> AnnotatorPage:
    """Give a name, and wait until an image is open."""
    page.get_by_label("your name").fill(name)
    page.keyboard.press("Tab")
    page.get_by_role("button", name="Review", exact=True).click()
    annotator = AnnotatorPage(page).wait()
    annotator.focus()
    return annotator


def shows_a_mask(annotator: AnnotatorPage) -> bool:
    """Whether the model's answer is on the page, with its own estimate of the IoU."""
    return "own estimate" in annotator.root.inner_text()


def test_review__clicks_and_boxes_are_answered_by_the_model_of_the_masks(tmp_path, page):
    folder = scenes.make(tmp_path / "made", wb.load_sam("bundled").model_id)
    with dashboard(folder, tmp_path / "log.txt") as server:
        watched = Watched(page, server)
        watched.open("review", until=SHOWN["review"])
        annotator = begin_review(page, "ann")
        with wb.Project.open(folder) as project:
            review = project.image_review(project.images()["image_id"].iloc[0])
            where = scenes.inside(review.masks.rles[0])
            annotator.press("c")
            annotator.click(*where)
            annotator.until(lambda: shows_a_mask(annotator), 120, "an answer to a click")
            annotator.press("Enter")
            annotator.press("o")
            x0, y0, x1, y1 = review.masks.boxes_xyxy[0].tolist()
            annotator.drag((x0, y0), (x1, y1))
            annotator.until(lambda: shows_a_mask(annotator), 120, "an answer to a box")
            annotator.press("Enter")
            after = project.image_review(review.image_id).masks
            assert after.prompt[-2:].tolist() == ["click", "box"]
            assert all(name.startswith("bundled-") for name in after.model_id[-2:])
            assert (after.area_px[-2:] > 0).all()
        watched.is_clean()


def test_review__clicks_are_answered_by_the_model_that_the_server_is_given(tmp_path, page):
    folder, kept = scenes.make(tmp_path / "made"), tmp_path / "kept"
    given = ("--model", "bundled", "--embedding-cache", str(kept))
    with dashboard(folder, tmp_path / "log.txt", *given) as server:
        watched = Watched(page, server)
        watched.open("review", until=SHOWN["review"])
        annotator = begin_review(page, "ann")
        annotator.press("c")
        annotator.click(scenes.SIDE_PX / 2, scenes.SIDE_PX / 2)
        annotator.until(lambda: shows_a_mask(annotator), 120, "an answer to a click")
        assert list(kept.glob("*.safetensors"))
        watched.is_clean()


def test_review__two_people_get_two_images_and_see_each_others_work(reviewed, page, context):
    server, folder = reviewed
    one, two, watcher = Watched(page, server), Watched(context.new_page(), server), Watched(context.new_page(), server)
    watcher.open("quality", until=SHOWN["quality"])
    seen = []
    for watched, name in ((one, "ann"), (two, "bob")):
        watched.open("review", until=SHOWN["review"])
        watched.page.get_by_label("your name").fill(name)
        watched.page.keyboard.press("Tab")
        watched.page.get_by_role("button", name="Review", exact=True).click()
        annotator = AnnotatorPage(watched.page).wait()
        seen.append(annotator.data("image"))
        annotator.focus()
        annotator.press("n", "a" if name == "ann" else "r")
    assert len(set(seen)) == 2
    watcher.page.get_by_text("What people left").first.wait_for()
    with wb.Project.open(folder) as project:
        assert sorted(project.journal()["annotator"]) == ["ann", "bob"]
    for watched in (one, two, watcher):
        watched.is_clean()


def test_thresholds__a_version_saved_in_one_session_is_seen_in_another(small, page, context):
    server, folder = small
    one, two = Watched(page, server), Watched(context.new_page(), server)
    one.open("thresholds", "?predicted_iou=0.91", until=SHOWN["thresholds"])
    two.open("thresholds", until=SHOWN["thresholds"])
    one.page.get_by_label("author").fill("ann")
    one.page.get_by_label("note: why these thresholds").fill("seen by two")
    one.page.keyboard.press("Tab")
    one.page.get_by_role("button", name="Make this the project's triage").click()
    one.page.get_by_text("masks are auto-accepted").wait_for()
    two.page.get_by_text("seen by two").first.wait_for()
    with wb.Project.open(folder) as project:
        last = project.triages().iloc[-1]
        assert (last["author"], last["note"]) == ("ann", "seen by two")
        assert last["settings"]["predicted_iou"] == 0.91
    one.is_clean()
    two.is_clean()


def test_login__wrong_password_and_foreign_origin_are_refused(tmp_path, page):
    with made_project(tmp_path, images=1, rows=5):
        pass
    (tmp_path / "users.json").write_text(json.dumps({"ann": "right"}))
    with dashboard(tmp_path / "project", tmp_path / "log.txt", "--basic-auth", str(tmp_path / "users.json")) as server:
        watched = Watched(page, server)
        page.goto(server.page("cycles"))
        for password, expected in (("wrong", "Invalid"), ("right", SHOWN["cycles"])):
            page.get_by_label("name", exact=True).fill("ann")
            page.get_by_label("password").fill(password)
            page.get_by_role("button", name="Log in").click()
            page.get_by_text(expected).first.wait_for()
        watched.is_clean()
        request = urllib.request.Request(f"{server.url}/cycles/ws", headers=_foreign())
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(request)
        assert refused.value.code == 403


def _foreign() -> dict[str, str]:
    return {
        "Origin": "http://elsewhere.example",
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
        "Sec-WebSocket-Version": "13",
    }


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    folder = tmp_path_factory.mktemp("large")
    made_project(folder, images=250, rows=400, truth=False).close()
    with dashboard(folder / "project", folder / "log.txt") as server:
        yield server


@pytest.mark.parametrize("name", PAGES)
def test_page__of_a_hundred_thousand_proposals_is_clean(large, page, name):
    watched = Watched(page, large)
    watched.open(name, until=SHOWN[name])
    if name == "thresholds":
        page.get_by_text("proposals of 250 images").first.wait_for()
    watched.is_clean()


@pytest.fixture(scope="module")
def lived(tmp_path_factory):
    """A project of two cycles that an oracle reviewed, and one that people reviewed and audited, and that is calibrated."""
    folder = tmp_path_factory.mktemp("lived")
    with disc_project(folder / "cycles", images=8, roles=(0.5, 0.25, 0.25)) as project:
        sam = wb.load_sam()
        floors = fitting_floors(sam.model_id).replace(points_per_side=6, crop_n_layers=0, jitter_prompts=0)
        train = TrainConfig(steps=1, views=1, prompts=4, check_every=1)
        config = CycleConfig(train=1, calibration=1)
        project.run_cycles(2, annotator="oracle", model=sam, config=config, floors=floors, train=train)
    with two_domains(folder / "people") as project:
        review(project, 12)
        project.calibrate(draws=50)
        project.certify(labels=20)
        project.gate()
    with (
        dashboard(folder / "cycles" / "p.wb", folder / "cycles.txt") as cycles,
        dashboard(folder / "people" / "project", folder / "people.txt") as people,
    ):
        yield {"cycles": cycles, "people": people}


@pytest.mark.parametrize(
    ("whose", "name", "until", "then"),
    [
        ("cycles", "cycles", "Cycle table", ["Models and their parents", "Hours of annotation"]),
        ("cycles", "quality", "What people left", ["Time by phase", "simulated"]),
        ("people", "calibration", "Calibration of run", ["By domain", "Verifiers", "What can be promised"]),
        ("people", "quality", "What people left", ["Disagreements with the audit", "Open the row"]),
        ("people", "cycles", "The gate is shut by", ["No cycles yet"]),
        ("people", "thresholds", "What these thresholds give", ["wrong among accepted"]),
    ],
)
def test_page__of_a_project_with_a_history_is_clean(lived, page, whose, name, until, then):
    watched = Watched(page, lived[whose])
    watched.open(name, until=until)
    for text in then:
        page.get_by_text(text).first.wait_for()
    page.wait_for_load_state("networkidle")
    watched.is_clean()


def test_quality__a_disagreement_is_opened_by_the_keyboard(lived, page):
    watched = Watched(page, lived["people"])
    watched.open("quality", until="Disagreements with the audit")
    page.wait_for_load_state("networkidle")  # tables come after their headings
    button = page.get_by_role("button", name="Open the row").last
    expect(button).to_be_enabled()
    button.press("Enter")
    page.locator("img[alt^='masks of']").first.wait_for()
    watched.is_clean()


def test_thresholds__an_odd_address_leaves_the_page_whole(small, page):
    watched = Watched(page, small[0])
    watched.open("thresholds", "?utm=%C2%B2&x=" + "9" * 4400, until="What these thresholds give")
    page.get_by_text("auto-accepted").first.wait_for()
    watched.is_clean()


def test_server__survives_a_session_that_dies_while_a_large_pool_is_built(tmp_path, page, context):
    made_project(tmp_path, images=250, rows=400, truth=False).close()
    with dashboard(tmp_path / "project", tmp_path / "log.txt") as server:
        dying = context.new_page()
        dying.goto(server.page("thresholds"), wait_until="commit")
        dying.close()
        watched = Watched(page, server)
        watched.open("thresholds", until="proposals of 250 images")
        page.get_by_role("slider").first.focus()
        for _ in range(20):
            page.keyboard.press("ArrowLeft")
        page.wait_for_function("location.search.includes('predicted_iou=0.78')")
        with wb.Project.open(tmp_path / "project") as project:
            triaged = wb.triage(project.proposals(), project.triage_config().replace(predicted_iou=0.78))
        page.locator(".tile b", has_text=f"{triaged.counts()['auto_accepted']:,}").first.wait_for()
        watched.is_clean()


def test_page__of_a_project_deleted_meanwhile_says_so(tmp_path, page):
    made_project(tmp_path, images=2, rows=10).close()
    with dashboard(tmp_path / "project", tmp_path / "log.txt") as server:
        watched = Watched(page, server)
        watched.open("cycles", until=SHOWN["cycles"])
        (tmp_path / "project").rename(tmp_path / "elsewhere")
        page.get_by_text("is not there any more").wait_for()
        watched.is_clean()


def test_page__of_a_project_that_another_process_is_writing_to_waits_and_then_saves(tmp_path, page):
    made_project(tmp_path, images=2, rows=20).close()
    with dashboard(tmp_path / "project", tmp_path / "log.txt") as server:
        watched = Watched(page, server)
        watched.open("thresholds", "?predicted_iou=0.92", until=SHOWN["thresholds"])
        other = sqlite3.connect(tmp_path / "project" / "project.sqlite", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        page.get_by_label("author").fill("ann")
        page.keyboard.press("Tab")
        page.get_by_role("button", name="Make this the project's triage").click()
        page.get_by_text("Sorting all proposals").first.wait_for()
        page.get_by_role("slider").first.focus()
        page.keyboard.press("ArrowRight")
        page.wait_for_function("location.search.includes('predicted_iou=0.925')")  # the page answers meanwhile
        other.execute("ROLLBACK")
        other.close()
        page.get_by_text("masks are auto-accepted").wait_for()
        watched.is_clean()


def test_report__opens_offline_with_its_figures(tmp_path, page):
    with made_project(tmp_path, images=4, rows=30) as project:
        report = wb.Dashboard(project).save(tmp_path / "report.html")
    asked, errors = [], []
    page.on("request", lambda request: asked.append(urlsplit(request.url).scheme))
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(report.as_uri())
    page.locator(".bk-Figure").first.wait_for()
    page.wait_for_load_state("networkidle")
    assert set(asked) <= {"file", "data", "blob"}
    assert errors == []
    for kind in ("png", "svg"):
        with page.expect_download() as saving:
            page.locator(f'[title="save as {kind.upper()}"]').first.click()
        assert saving.value.suggested_filename.endswith(f".{kind}")
        assert saving.value.path().stat().st_size > 1000
