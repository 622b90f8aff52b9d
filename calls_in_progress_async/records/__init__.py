"""The API's responses as records, without any knowledge of HTTP."""

from .call import Call
from .codec import Problem
from .custom_data import CustomDataField
from .results import CallUpdate, CurrentCalls

__all__ = ["Call", "CallUpdate", "CurrentCalls", "CustomDataField", "Problem"]
