//! What of an address is one peer's.

use std::net::{IpAddr, Ipv6Addr};

/// What counts as one address where something is counted by address: of IPv6 everybody has a whole
/// network of 64 bits, and an address of IPv4 is the same one in the way of IPv6.
pub(crate) fn network_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)))
        }
        address => address,
    }
}
