"""Names in paths, as OpenAPI tells of them."""

from typing import Annotated

from fastapi import Path

SITE = Annotated[str, Path(description="The site's name.", max_length=256)]
ROLLOUT = Annotated[str, Path(description="The rollout's name.", max_length=256)]
MODEL = Annotated[str, Path(description="The model's name.", max_length=256)]
