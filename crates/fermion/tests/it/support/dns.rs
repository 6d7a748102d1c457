//! A resolver that says what a test wants, until the test wants something else: addresses, errors, or nothing.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex};

/// What is said of a name.
#[derive(Debug, Clone)]
pub(crate) enum Says {
    /// These addresses, for so many seconds.
    Addresses(u32, Vec<IpAddr>),
    /// An error of this code (RFC 1035, section 4.1.1).
    Code(u8),
    /// Nothing.
    Nothing,
}

/// A running resolver. Its thread ends with the test process.
pub(crate) struct Dns {
    pub(crate) address: SocketAddr,
    names: Arc<Mutex<HashMap<&'static str, Says>>>,
    /// Questions for IPv4 addresses, by name.
    asked: Arc<Mutex<HashMap<String, usize>>>,
}

impl Dns {
    pub(crate) fn start(names: impl IntoIterator<Item = (&'static str, Says)>) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a port is free");
        let address = socket.local_addr().expect("it has an address");
        let names = Arc::new(Mutex::new(names.into_iter().collect::<HashMap<_, _>>()));
        let asked = Arc::new(Mutex::new(HashMap::new()));
        let (said, counted) = (names.clone(), asked.clone());
        std::thread::spawn(move || {
            let mut packet = [0; 1500];
            while let Ok((size, from)) = socket.recv_from(&mut packet) {
                if let Some(answer) = answer(&packet[..size], &said, &counted) {
                    // Whoever asked may have gone.
                    drop(socket.send_to(&answer, from));
                }
            }
        });
        Self {
            address,
            names,
            asked,
        }
    }

    /// From now on it says this of a name.
    pub(crate) fn turn(&self, name: &'static str, says: Says) {
        self.names.lock().unwrap().insert(name, says);
    }

    /// How often the IPv4 addresses of a name were asked for.
    pub(crate) fn asked(&self, name: &str) -> usize {
        self.asked.lock().unwrap().get(name).copied().unwrap_or(0)
    }
}

fn answer(
    packet: &[u8],
    names: &Mutex<HashMap<&str, Says>>,
    asked: &Mutex<HashMap<String, usize>>,
) -> Option<Vec<u8>> {
    let (mut at, mut labels) = (12, Vec::new());
    while packet[at] != 0 {
        let end = at + 1 + usize::from(packet[at]);
        labels.push(String::from_utf8_lossy(&packet[at + 1..end]).to_ascii_lowercase());
        at = end;
    }
    let name = labels.join(".");
    let question = &packet[12..at + 5];
    let is_v4 = packet[at + 1..at + 3] == [0, 1];
    *asked.lock().unwrap().entry(name.clone()).or_default() += usize::from(is_v4);
    let (code, ttl, addresses) = match names.lock().unwrap().get(&*name) {
        None => (3, 0, Vec::new()),
        Some(Says::Nothing) => return None,
        Some(Says::Code(code)) => (*code, 0, Vec::new()),
        Some(Says::Addresses(ttl, addresses)) => (0, *ttl, addresses.clone()),
    };
    let fitting: Vec<IpAddr> = addresses.into_iter().filter(|ip| ip.is_ipv4() == is_v4).collect();
    let mut answer = packet[..2].to_vec();
    answer.extend([
        0x81,
        0x80 | code,
        0,
        1,
        0,
        u8::try_from(fitting.len()).unwrap(),
        0,
        0,
        0,
        0,
    ]);
    answer.extend(question);
    for ip in fitting {
        let bytes = match ip {
            IpAddr::V4(ip) => ip.octets().to_vec(),
            IpAddr::V6(ip) => ip.octets().to_vec(),
        };
        answer.extend([0xc0, 12]);
        answer.extend(&question[question.len() - 4..]);
        answer.extend(ttl.to_be_bytes());
        answer.extend([0, u8::try_from(bytes.len()).unwrap()]);
        answer.extend(bytes);
    }
    Some(answer)
}
