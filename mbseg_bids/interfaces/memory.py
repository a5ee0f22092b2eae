"""How much memory a step needed at most."""

from pathlib import Path

_RESET, _STATUS = Path("/proc/self/clear_refs"), Path("/proc/self/status")


class PeakMemory:
    """Largest resident memory of this process since it was made; Linux only.

    The kernel's mark is set back at the start, so that an earlier step of the same process does not count.
    """

    def __init__(self) -> None:
        try:
            _RESET.write_text("5")
            self._known = True
        except OSError:
            self._known = False

    def gb(self) -> float | None:
        """Return the peak in units of 10^9 bytes, or nothing where the system does not tell."""
        if not self._known:
            return None
        try:
            lines = _STATUS.read_text(encoding="ascii", errors="replace").splitlines()
        except OSError:
            return None
        kilobytes = next((line.split()[1] for line in lines if line.startswith("VmHWM:")), None)
        return None if kilobytes is None else round(int(kilobytes) * 1024 / 1e9, 2)
