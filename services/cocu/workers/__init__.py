"""Celery application, the stages, the planner and the sweeper."""
