"""The wallboard: live calls on a page, served by aiohttp.

`application` makes an aiohttp application to mount behind an authentication of your own; the command
``calls-in-progress wallboard`` serves the same page by itself. Importing the package imports `aiohttp.web`, so programs
without a wallboard never import either.
"""

from .application import application, board_application
from .feed import Feed, FeedStatus, WatchFeed
from .server import serve
from .settings import BoardSettings

__all__ = ["BoardSettings", "Feed", "FeedStatus", "WatchFeed", "application", "board_application", "serve"]
