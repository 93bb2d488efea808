"""What a site reads from a repository of the same machine, without a socket."""

from tuf.api.exceptions import DownloadHTTPError

from edgewise.agent.trust.source import Source
from edgewise.core.errors import NotFoundError


class NearSource(Source):
    """Gives out a repository's metadata and target files.

    Attributes:
        repository: from which it reads.
    """

    def __init__(self, repository):
        self.repository = repository

    def _fetch(self, url):
        self.name = url.rpartition("/")[2]
        try:
            if "/tuf/metadata/" in url:
                yield self.repository.read(self.name)
            else:
                yield self.repository.target(url.partition("/tuf/targets/")[2])
        except NotFoundError:
            raise DownloadHTTPError("not there", 404) from None
