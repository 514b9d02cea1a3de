"""The network interfaces of this machine."""

import psutil


def interface_of(address: str) -> str | None:
    """Returns the name of the network interface that has an address, such as `lo`; None where none has it."""
    for name, addresses in psutil.net_if_addrs().items():
        if any(each.address == address for each in addresses):
            return name
    return None
