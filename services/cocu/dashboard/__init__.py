"""The web pages of the platform: rendered on the server, over the REST API, through the typed client.

Every view is a URL and every page works as a plain GET. The server keeps nothing per viewer, so that any
replica can answer any request.
"""

from cocu.dashboard.application import DashboardOptions, create_dashboard

__all__ = ["DashboardOptions", "create_dashboard"]
