"""`python -m tests.validators` fetches what they need, so that no test waits for a download or a compiler."""

from tests.validators import compose_model, schema
from tests.validators.tools import AMTOOL, HADOLINT, PROMTOOL

if __name__ == "__main__":
    for path in (PROMTOOL.path(), AMTOOL.path(), HADOLINT.path(), schema.install(), compose_model.install()):
        print(path)
