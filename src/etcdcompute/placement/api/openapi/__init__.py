"""What the service serves, as an OpenAPI document: from the table of routes and the schemas that requests are held to.

What neither says (the documents in answers, and which refusals to expect) is declared here, one entry a route and
method; a test sees to it that there is one for each, and schemathesis that they are true.
"""
