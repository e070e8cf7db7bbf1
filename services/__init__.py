"""The services of a Paradrop node and what starts them."""

import os

# Read when grpc is first imported. Its newer connections receive in a thread of its own, which passes it on;
# that costs an eighth of the processor time of a call.
os.environ.setdefault("GRPC_EXPERIMENTS", "-event_engine_listener,-event_engine_client")
