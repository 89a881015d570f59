"""What resctrl offers on machines that nobody here has, as `read_info` would return it."""

from collections.abc import Sequence

from lorabench.host.resctrl import CacheInfo, Info, MemoryBandwidthInfo, Schemata


def l3(domains: Sequence[int], *, ways: int = 11, shareable: int = 0, least: int = 1) -> CacheInfo:
    return CacheInfo("L3", 16, (1 << ways) - 1, least, shareable, domains=tuple(domains))


def intel_mb(domains: Sequence[int]) -> MemoryBandwidthInfo:
    return MemoryBandwidthInfo("MB", 8, 10, 10, domains=tuple(domains))


def amd_mb(domains: Sequence[int]) -> MemoryBandwidthInfo:
    return MemoryBandwidthInfo("MB", 16, 1, 1, 2048, "1/8 GB/s", domains=tuple(domains))


def offers(*caches: CacheInfo, bandwidth: MemoryBandwidthInfo | None = None) -> Info:
    full = {cache.name: dict.fromkeys(cache.domains, cache.cbm_mask) for cache in caches}
    if bandwidth:
        full["MB"] = dict.fromkeys(bandwidth.domains, bandwidth.maximum)
    return Info(tuple(caches), bandwidth, None, None, Schemata.of(full))


def xeon(sockets: int = 2) -> Info:
    """CAT of 11 ways, two of them filled by devices too, and MBA."""
    return offers(l3(range(sockets), shareable=0x600), bandwidth=intel_mb(range(sockets)))


def epyc(ccds: int = 8) -> Info:
    """CAT of 16 ways and bandwidth in eighths of a GB/s, a domain a CCD."""
    return offers(l3(range(ccds), ways=16, least=0), bandwidth=amd_mb(range(ccds)))
