"""Every Ray that these tests start asks for a token of their own; this has to be said before ray is imported."""

import os
import secrets

os.environ.update(RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=secrets.token_hex(32))
