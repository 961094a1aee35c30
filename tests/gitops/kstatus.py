"""What kstatus (Flux, cli-utils) reads from an object of a kind it has no special rule for.

The rules, in their order: a deletion time wins; then a generation that was not observed; then the conditions
Reconciling and Stalled; then Ready; and an object that says nothing at all counts as done.
"""


def kstatus(obj):
    """One of Terminating, InProgress, Failed, Current."""
    metadata, status = obj.get("metadata", {}), obj.get("status") or {}
    if metadata.get("deletionTimestamp"):
        return "Terminating"
    observed = status.get("observedGeneration")
    if observed is not None and observed != metadata.get("generation"):
        return "InProgress"
    conditions = {c["type"]: c["status"] for c in status.get("conditions") or []}
    if conditions.get("Reconciling") == "True":
        return "InProgress"
    if conditions.get("Stalled") == "True":
        return "Failed"
    if conditions.get("Ready") in ("False", "Unknown"):
        return "InProgress"
    return "Current"
