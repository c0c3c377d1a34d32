"""Migrations of the catalogue, run by alembic when a project is made or opened."""
