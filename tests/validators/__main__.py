"""`python -m tests.validators` fetches what they need, so that no test waits for a download or a compiler."""

from tests.validators.schema import install
from tests.validators.tools import AMTOOL, PROMTOOL

if __name__ == "__main__":
    for path in (PROMTOOL.path(), AMTOOL.path(), install()):
        print(path)
