"""The merchant's dashboard: server-made pages on the endpoints of the API, for people instead of keys.

A page is added in three steps:

1. A module in `dashboard/pages` with a `Page` for each thing to look at and an `Action` for each form, both declared in
   a tuple at its end (`pages/payments.py` is the shortest). `access` is the right without which neither is served nor
   linked; `nav` puts the page into the navigation, under that heading; `fresh=True` asks for a proof of who it is that
   is not older than ten minutes, and a form that comes later is shown again once that is given, filled in from
   `visit.form` as after a fault.
2. A template in `dashboard/templates` that extends `page.html`; `forms.html` holds the fields of forms.
3. The module's name in `pages/__init__.py`.

What a page shows and does it gets by `visit.ask("list_payments", …)`: an endpoint of the API by its name, here in this
process, with the same checks of query and body, and refused unless the person's role has the endpoint's scope. What the
API does not offer (keys, people) is asked of the stores, after `visit.demand(right)`, and done by `visit.do` or
`visit.make`. Both ways do it once for a form, however often that comes: `csrf` of `forms.html` holds what it is known
by. Requests that are let in have a session, a store that the person belongs to, and (forms) a token that only a page of
ours could have; unknown fields are refused. An `Invalid` that an action raises shows the form's page again, with each
fault at its field.
"""
