//! Sockets and name lookup: denied unless granted by protocol, host and port. A granted name is resolved by the host
//! when the guest asks for it, and only the addresses that came of that can be connected to, so that a name gives no
//! more than was checked, and looking up names carries nothing out.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fermion_model::endpoint::{Endpoint, Protocol};
use wasmtime::StoreContextMut;
use wasmtime::component::{Accessor, Linker, Resource, ResourceType};
use wasmtime_wasi::WasiCtxBuilder;
use wasmtime_wasi::p2::bindings::sockets::network::{ErrorCode, IpAddress, Network};
use wasmtime_wasi::p2::{DynPollable, Pollable, subscribe};
use wasmtime_wasi::p3::bindings::sockets::ip_name_lookup as p3;
use wasmtime_wasi::sockets::SocketAddrUse;

use crate::egress::{HostKind, Reach, kind_of, reach};
use crate::limits::SOCKET_ADDRESSES_MAX;
use crate::state::State;

type Addresses = BTreeSet<(Protocol, SocketAddr)>;

/// What granted names stand for, as far as one instance has asked.
#[derive(Debug, Clone, Default)]
pub(crate) struct Reached(Arc<Mutex<Addresses>>);

impl Reached {
    fn addresses(&self) -> MutexGuard<'_, Addresses> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds addresses; the oldest answers are forgotten before there are too many.
    fn add(&self, new: Addresses) {
        let mut addresses = self.addresses();
        if addresses.len() + new.len() > SOCKET_ADDRESSES_MAX {
            addresses.clear();
        }
        addresses.extend(new.into_iter().take(SOCKET_ADDRESSES_MAX));
    }

    fn has(&self, protocol: Protocol, address: SocketAddr) -> bool {
        self.addresses().contains(&(protocol, address))
    }
}

/// Why a name is not looked up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LookupError {
    Denied,
    Unresolvable,
}

impl From<LookupError> for ErrorCode {
    fn from(error: LookupError) -> Self {
        match error {
            LookupError::Denied => Self::AccessDenied,
            LookupError::Unresolvable => Self::NameUnresolvable,
        }
    }
}

impl From<LookupError> for p3::ErrorCode {
    fn from(error: LookupError) -> Self {
        match error {
            LookupError::Denied => Self::AccessDenied,
            LookupError::Unresolvable => Self::NameUnresolvable,
        }
    }
}

/// Lets a WASI context connect to what is granted. Listening is never allowed, and binding to no address or port of the
/// guest's choice.
pub(crate) fn allow(builder: &mut WasiCtxBuilder, granted: &Arc<[Endpoint]>, reached: &Reached) {
    let speaks = |protocol| granted.iter().any(|endpoint| endpoint.protocol == protocol);
    builder
        .allow_tcp(speaks(Protocol::Tcp))
        .allow_udp(speaks(Protocol::Udp))
        // The engine's own lookup knows no grants; `add_to_linker` puts another in its place.
        .allow_ip_name_lookup(false);
    if granted.is_empty() {
        return;
    }
    let (granted, reached) = (granted.clone(), reached.clone());
    builder.socket_addr_check(move |address, purpose| {
        let allowed = allows(&granted, &reached, address, purpose);
        if !allowed {
            tracing::warn!(code = "SOCKET_DENIED", %address, ?purpose, "socket denied: the address was not granted");
        }
        Box::pin(std::future::ready(allowed))
    });
}

fn allows(granted: &[Endpoint], reached: &Reached, address: SocketAddr, purpose: SocketAddrUse) -> bool {
    let protocol = match purpose {
        SocketAddrUse::TcpBind | SocketAddrUse::UdpBind => {
            return address.ip().is_unspecified() && address.port() == 0;
        }
        SocketAddrUse::TcpListen | SocketAddrUse::TcpAccept => return false,
        SocketAddrUse::TcpConnect => Protocol::Tcp,
        SocketAddrUse::UdpSend | SocketAddrUse::UdpReceive => Protocol::Udp,
    };
    let address = SocketAddr::new(address.ip().to_canonical(), address.port());
    let is_literal = |endpoint: &Endpoint| {
        endpoint.protocol == protocol
            && endpoint.port == address.port()
            && endpoint.address() == Some(address.ip())
    };
    granted.iter().any(is_literal) || reached.has(protocol, address)
}

/// The addresses of a granted host.
async fn look_up(granted: &[Endpoint], reached: &Reached, name: &str) -> Result<Vec<IpAddr>, LookupError> {
    let bare = |host: &str| host.trim_matches(['[', ']']).to_ascii_lowercase();
    let name = bare(name.trim_end_matches('.'));
    let granted: Vec<_> = granted
        .iter()
        .filter(|endpoint| bare(&endpoint.host) == name)
        .collect();
    if granted.is_empty() {
        tracing::warn!(
            code = "SOCKET_DENIED",
            name,
            "name lookup denied: the host was not granted"
        );
        return Err(LookupError::Denied);
    }
    if let Ok(address) = name.parse() {
        return Ok(vec![address]);
    }
    let resolved = tokio::net::lookup_host((name.as_str(), 0)).await;
    let addresses: BTreeSet<IpAddr> = resolved
        .map_err(|_| LookupError::Unresolvable)?
        .map(|address| address.ip().to_canonical())
        .collect();
    let is_name = kind_of(&name) == HostKind::Name;
    let is_denied = |ip: &&IpAddr| match reach(SocketAddr::new(**ip, 0)) {
        Reach::Public | Reach::Private => false,
        Reach::Loopback => is_name,
        Reach::Special => true,
    };
    if let Some(address) = addresses.iter().find(is_denied) {
        tracing::warn!(code = "SOCKET_DENIED", name, %address, "name lookup denied: the address needs a grant of its own");
        return Err(LookupError::Denied);
    }
    let of = |endpoint: &&Endpoint| {
        let (protocol, port) = (endpoint.protocol, endpoint.port);
        addresses
            .iter()
            .map(move |ip| (protocol, SocketAddr::new(*ip, port)))
            .collect::<Vec<_>>()
    };
    reached.add(granted.iter().flat_map(of).collect());
    Ok(addresses.into_iter().collect())
}

/// `resource resolve-address-stream`: the whole answer is here when it is made.
struct Answer(std::vec::IntoIter<IpAddr>);

#[wasmtime_wasi::async_trait]
impl Pollable for Answer {
    async fn ready(&mut self) {}
}

/// Puts name lookup by grant in the place of the engine's own, which must have been linked before.
pub(crate) fn add_to_linker(linker: &mut Linker<State>, is_p3: bool) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    add_p2(linker)?;
    if is_p3 {
        add_p3(linker)?;
    }
    linker.allow_shadowing(false);
    Ok(())
}

fn add_p2(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    let mut interface = linker.instance("wasi:sockets/ip-name-lookup@0.2.12")?;
    interface.resource(
        "resolve-address-stream",
        ResourceType::host::<Answer>(),
        |mut store, rep| {
            store.data_mut().table.delete(Resource::<Answer>::new_own(rep))?;
            Ok(())
        },
    )?;
    interface.func_wrap_async(
        "resolve-addresses",
        |mut store: StoreContextMut<'_, State>, (network, name): (Resource<Network>, String)| {
            Box::new(async move {
                // The network stands for the right to look up names at all.
                let _: &Network = store.data_mut().table.get(&network)?;
                let (granted, reached) = store.data_mut().sockets();
                Ok((match look_up(&granted, &reached, &name).await {
                    Ok(found) => Ok(store.data_mut().table.push(Answer(found.into_iter()))?),
                    Err(error) => Err(ErrorCode::from(error)),
                },))
            })
        },
    )?;
    interface.func_wrap(
        "[method]resolve-address-stream.resolve-next-address",
        |mut store: StoreContextMut<'_, State>, (answer,): (Resource<Answer>,)| {
            let next = store.data_mut().table.get_mut(&answer)?.0.next();
            Ok((Ok::<_, ErrorCode>(next.map(IpAddress::from)),))
        },
    )?;
    interface.func_wrap(
        "[method]resolve-address-stream.subscribe",
        |mut store: StoreContextMut<'_, State>, (answer,): (Resource<Answer>,)| {
            let pollable: Resource<DynPollable> = subscribe(&mut store.data_mut().table, answer)?;
            Ok((pollable,))
        },
    )
}

fn add_p3(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    linker
        .instance("wasi:sockets/ip-name-lookup@0.3.0")?
        .func_wrap_concurrent(
            "resolve-addresses",
            |accessor: &Accessor<State>, (name,): (String,)| {
                Box::pin(async move {
                    let (granted, reached) = accessor.with(|mut access| access.get().sockets());
                    let found = look_up(&granted, &reached, &name).await;
                    let found =
                        found.map(|found| found.into_iter().map(p3::IpAddress::from).collect::<Vec<_>>());
                    Ok((found.map_err(p3::ErrorCode::from),))
                })
            },
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn granted(texts: &[&str]) -> Vec<Endpoint> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn only_what_was_granted_can_be_reached() {
        let rules = granted(&["tcp://127.0.0.1:5432", "udp://[::1]:53", "tcp://db.test:1"]);
        let reached = Reached::default();
        reached.add([(Protocol::Tcp, "10.0.0.7:1".parse().unwrap())].into());
        let (tcp, udp) = (SocketAddrUse::TcpConnect, SocketAddrUse::UdpSend);
        for (address, purpose, allowed) in [
            ("127.0.0.1:5432", tcp, true),
            ("[::ffff:127.0.0.1]:5432", tcp, true),
            ("127.0.0.1:5433", tcp, false),
            ("127.0.0.1:5432", udp, false),
            ("127.0.0.2:5432", tcp, false),
            ("[::1]:53", udp, true),
            ("[::1]:53", SocketAddrUse::UdpReceive, true),
            ("[::1]:53", tcp, false),
            ("10.0.0.7:1", tcp, true),
            ("10.0.0.7:2", tcp, false),
            ("10.0.0.8:1", tcp, false),
            ("0.0.0.0:0", SocketAddrUse::TcpBind, true),
            ("0.0.0.0:80", SocketAddrUse::TcpBind, false),
            ("127.0.0.1:0", SocketAddrUse::UdpBind, false),
            ("0.0.0.0:0", SocketAddrUse::TcpListen, false),
            ("127.0.0.1:5432", SocketAddrUse::TcpAccept, false),
        ] {
            let address: SocketAddr = address.parse().unwrap();
            assert_eq!(
                allows(&rules, &reached, address, purpose),
                allowed,
                "{address} {purpose:?}"
            );
        }
    }

    #[tokio::test]
    async fn only_granted_names_are_looked_up_and_give_only_their_ports() {
        let rules = granted(&["tcp://localhost:5432", "udp://127.0.0.1:53"]);
        let reached = Reached::default();
        assert_eq!(
            look_up(&rules, &reached, "example.com").await,
            Err(LookupError::Denied)
        );
        assert_eq!(
            look_up(&rules, &reached, "127.0.0.2").await,
            Err(LookupError::Denied)
        );
        let local: IpAddr = "127.0.0.1".parse().unwrap();
        assert_eq!(look_up(&rules, &reached, "127.0.0.1").await, Ok(vec![local]));
        let found = look_up(&rules, &reached, "LOCALHOST.").await.unwrap();
        assert!(found.contains(&local), "{found:?}");
        assert!(reached.has(Protocol::Tcp, "127.0.0.1:5432".parse().unwrap()));
        assert!(!reached.has(Protocol::Udp, "127.0.0.1:5432".parse().unwrap()));
        assert!(!reached.has(Protocol::Tcp, "127.0.0.1:53".parse().unwrap()));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let reached = Reached::default();
        for last in 0..2_000_u32 {
            let ip = std::net::Ipv4Addr::from(last);
            reached.add([(Protocol::Tcp, SocketAddr::new(ip.into(), 1))].into());
        }
        assert!(reached.addresses().len() <= SOCKET_ADDRESSES_MAX);
    }
}
