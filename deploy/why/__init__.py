"""Why an event is as it is: from any row or message back to the raw frames of LOG, and proven."""
