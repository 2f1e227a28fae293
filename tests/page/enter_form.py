"""The form that asks who somebody is, on a server that asks nobody: handed to the browser as it is rendered."""

from __future__ import annotations

from playwright.sync_api import Page, Route

from server.access import enter_page


def show_form(page: Page, *, wrong: bool = False) -> None:
    """Lead to ``/enter``, with the token's half open; ``wrong`` as after a wrong password."""

    def answer(route: Route) -> None:
        made = enter_page.refuse_login("/teach", "./") if wrong else enter_page.ask("/teach", "./", has_code=True)
        body = bytes(made.body)
        route.fulfill(status=200, body=body, headers=dict(made.headers.items()))

    page.route("**/enter", answer)
    page.goto(f"{page.url.rstrip('/')}/enter")
