"""What the kernels are tested on: both dtypes that all of them take."""

import pytest

from tests.kernels.arrays import DTYPES


@pytest.fixture(params=DTYPES)
def dtype(request):
    return request.param
