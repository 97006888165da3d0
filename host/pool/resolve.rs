//! Names that are granted, resolved: once, by the host, before any worker
//! starts. Workers have no way to ask.

use std::net::ToSocketAddrs;

use crate::capabilities::Capabilities;
use crate::error::Error;
use crate::escape;

/// Gives each name of a grant its addresses.
///
/// # Errors
/// [`Error::Usage`] naming a grant whose name has none.
pub fn resolve(capabilities: &mut Capabilities) -> Result<(), Error> {
    for grant in capabilities.net.iter_mut().filter(|grant| grant.addresses.is_empty()) {
        let failed = |why: &dyn std::fmt::Display| {
            Error::Usage(format!("--allow-net {}: cannot be resolved: {why}", escape::name(&grant.host)))
        };
        let found = (grant.host.as_str(), grant.first).to_socket_addrs().map_err(|error| failed(&error))?;
        let mut addresses = Vec::new();
        for address in found.map(|address| address.ip().to_canonical()) {
            if !addresses.contains(&address) {
                addresses.push(address);
            }
        }
        if addresses.is_empty() {
            return Err(failed(&"it has no addresses"));
        }
        grant.addresses = addresses;
    }
    Ok(())
}
