"""The seeding rule in JavaScript, as it travels: with the logarithm of this machine's C library.

numpy draws a normal number beyond 3.65, one in four thousand, by the C library's `log1pf`. Libraries round it
differently, and the last bit of one number in a million follows; what is drawn here decides which of them this
machine has.
"""

from pathlib import Path

from storage.records import initial_noise

FDLIBM, ROUNDED = "fdlibm", "rounded"
_SOURCE = Path(__file__).with_name("noise.mjs")
_IMAGE, _NUMBER, _BY_FDLIBM = 22479, 19, 3.9558680057525635
"""An image of seed 0, a number in its noise, and that number's value by the older library's logarithm."""


def logarithm() -> str:
    """Returns whose logarithm numpy draws with here: of glibc up to 2.38 and musl ("fdlibm"), or a newer one's."""
    drawn = initial_noise(0, _IMAGE, _IMAGE + 1, (_NUMBER + 1,))[0, _NUMBER]
    return FDLIBM if float(drawn) == _BY_FDLIBM else ROUNDED


def noise_module() -> str:
    """Returns `advkd_noise.mjs`."""
    text = _SOURCE.read_text(encoding="utf-8")
    line = f'const LOGARITHM = "{FDLIBM}";'
    assert line in text
    return text.replace(line, f'const LOGARITHM = "{logarithm()}";')
