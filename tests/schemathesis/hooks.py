"""What schemathesis cannot know of ruad from the OpenAPI document alone."""

import os

import schemathesis
from hypothesis import strategies

# Formats of the document that are in no standard.
schemathesis.openapi.format("ip", strategies.ip_addresses().map(str))
schemathesis.openapi.format("cidr", strategies.ip_addresses().map(lambda address: f"{address}/{address.max_prefixlen - 8}"))

# A valid cursor comes only from the list before it, one day may be after another, and records expire: no schema says so.
# It also makes up names for fields of a form that no header can hold. What is refused for any other reason was valid and is a finding.
NOT_IN_A_SCHEMA = {"bad_cursor", "bad_range", "records_expired", "bad_multipart"}

# PostgreSQL stores no U+0000, so nothing that is asked for has it; a schema would have to say so of every text.
NUL = "a parameter has the character U+0000"

# JSON Schema counts 3.0 among the integers; ruad takes whole numbers only without a point.
POINT = "invalid type: floating point"


@schemathesis.hook
def filter_failure(context, failure, case, response):
    # Discarding a delivery throws its bytes away, and its entry in the ledger stays.
    if type(failure).__name__ == "UseAfterFree":
        return "/deliveries" not in case.path
    if type(failure).__name__ != "RejectedPositiveData":
        return True
    answer = response.json()
    # Bytes that are no report are taken in and rejected: 422 is the outcome of a valid request.
    is_outcome = "delivery_id" in answer
    return not (is_outcome or answer["code"] in NOT_IN_A_SCHEMA or answer["detail"] == NUL or answer["detail"].startswith(POINT))


@schemathesis.hook
def filter_case(context, case):
    """Leaves alone the token that everything is asked with: without it nothing more would be tested."""
    token = os.environ.get("RUAD_TOKEN", "")
    own = token.split("_")[1] if "_" in token else None
    return (case.path_parameters or {}).get("token_id") != own or own is None
