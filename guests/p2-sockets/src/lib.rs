//! Looks up a host and talks to it. `/lookup/HOST` answers its addresses, `/tcp/HOST/PORT` looks up and connects to the
//! first that lets it, sends a line and answers what comes back; `/tcp4/A/B/C/D/PORT` connects to an address without
//! looking anything up; `/listen` tries to listen. What is refused is a 502 with the step and the error's name.

use wasip2::http::types::{Fields, IncomingRequest, OutgoingBody, OutgoingResponse, ResponseOutparam};
use wasip2::sockets::instance_network::instance_network;
use wasip2::sockets::ip_name_lookup::resolve_addresses;
use wasip2::sockets::network::{ErrorCode, IpAddress, IpAddressFamily, IpSocketAddress, Ipv4SocketAddress, Ipv6SocketAddress};
use wasip2::sockets::tcp_create_socket::create_tcp_socket;

struct Sockets;

type Answer<T> = Result<T, String>;

fn at(step: &'static str) -> impl Fn(ErrorCode) -> String {
    move |error| format!("{step} {}", error.name())
}

fn lookup(host: &str) -> Answer<Vec<IpAddress>> {
    let stream = resolve_addresses(&instance_network(), host).map_err(at("lookup"))?;
    let mut addresses = Vec::new();
    loop {
        match stream.resolve_next_address() {
            Ok(Some(address)) => addresses.push(address),
            Ok(None) => return Ok(addresses),
            Err(ErrorCode::WouldBlock) => stream.subscribe().block(),
            Err(error) => return Err(at("lookup")(error)),
        }
    }
}

fn talk(address: IpAddress, port: u16) -> Answer<String> {
    let (family, address) = match address {
        IpAddress::Ipv4(address) => (IpAddressFamily::Ipv4, IpSocketAddress::Ipv4(Ipv4SocketAddress { port, address })),
        IpAddress::Ipv6(address) => (
            IpAddressFamily::Ipv6,
            IpSocketAddress::Ipv6(Ipv6SocketAddress { port, address, flow_info: 0, scope_id: 0 }),
        ),
    };
    let socket = create_tcp_socket(family).map_err(at("create"))?;
    socket.start_connect(&instance_network(), address).map_err(at("connect"))?;
    let (input, output) = loop {
        match socket.finish_connect() {
            Err(ErrorCode::WouldBlock) => socket.subscribe().block(),
            connected => break connected.map_err(at("connect"))?,
        }
    };
    output.blocking_write_and_flush(b"ping\n").map_err(|error| format!("write {error:?}"))?;
    let bytes = input.blocking_read(100).map_err(|error| format!("read {error:?}"))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn listen() -> Answer<String> {
    let socket = create_tcp_socket(IpAddressFamily::Ipv4).map_err(at("create"))?;
    let address = IpSocketAddress::Ipv4(Ipv4SocketAddress { port: 0, address: (127, 0, 0, 1) });
    socket.start_bind(&instance_network(), address).map_err(at("bind"))?;
    socket.finish_bind().map_err(at("bind"))?;
    socket.start_listen().map_err(at("listen"))?;
    socket.finish_listen().map_err(at("listen"))?;
    Ok("listening\n".to_owned())
}

fn answer(parts: &[&str]) -> Answer<String> {
    let number = |text: &str| text.parse::<u16>().map_err(|error| error.to_string());
    match parts {
        ["lookup", host] => Ok(lookup(host)?.iter().map(|address| format!("{address:?}\n")).collect()),
        ["tcp", host, port] => {
            let mut last = "lookup nothing".to_owned();
            for address in lookup(host)? {
                match talk(address, number(port)?) {
                    Ok(text) => return Ok(text),
                    Err(error) => last = error,
                }
            }
            Err(last)
        }
        ["tcp4", a, b, c, d, port] => {
            let byte = |text: &str| text.parse::<u8>().map_err(|error| error.to_string());
            talk(IpAddress::Ipv4((byte(a)?, byte(b)?, byte(c)?, byte(d)?)), number(port)?)
        }
        ["listen"] => listen(),
        _ => Err("no such path".to_owned()),
    }
}

impl wasip2::exports::http::incoming_handler::Guest for Sockets {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let path = request.path_with_query().unwrap_or_default();
        let parts: Vec<_> = path.trim_start_matches('/').split('/').collect();
        let (status, body) = match answer(&parts) {
            Ok(body) => (200, body),
            Err(body) => (502, format!("{body}\n")),
        };
        let response = OutgoingResponse::new(Fields::new());
        response.set_status_code(status).expect("the status is an acceptable one");
        let outgoing = response.body().expect("the body is taken once");
        ResponseOutparam::set(out, Ok(response));
        let stream = outgoing.write().expect("the stream is taken once");
        drop(stream.blocking_write_and_flush(body.as_bytes()));
        drop(stream);
        drop(OutgoingBody::finish(outgoing, None));
    }
}

wasip2::http::proxy::export!(Sockets);
