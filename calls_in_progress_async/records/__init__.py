"""What the API answers, as records that know nothing of HTTP."""

from .call import Call
from .codec import Problem
from .custom_data import CustomDataField
from .results import CallUpdate, CurrentCalls

__all__ = ["Call", "CallUpdate", "CurrentCalls", "CustomDataField", "Problem"]
