//! Shutdown: what is in flight is finished, what is idle is closed, what is left is cut off.

use std::net::TcpStream;

use fermion_gateway::Drained;

use crate::harness::Harness;

#[test]
fn ten_requests_in_flight_are_finished() {
    let mut harness = Harness::start();
    let mut busy: Vec<_> = (0..10)
        .map(|_| harness.connect().send("GET /never HTTP/1.1\r\nhost: x\r\n\r\n"))
        .collect();
    let mut idle = harness.connect().send("GET /hello HTTP/1.1\r\nhost: x\r\n\r\n");
    assert_eq!(idle.reply().status, 200);
    harness.wait_for_arrivals(10);
    harness.begin_shutdown();
    assert!(idle.is_closed());
    harness.app.gate.add_permits(10);
    for client in &mut busy {
        assert_eq!(client.reply().status, 200);
        assert!(client.is_closed());
    }
    assert_eq!(
        harness.stop(),
        Drained {
            finished_connections: 11,
            aborted_connections: 0
        }
    );
    assert!(TcpStream::connect(harness.address).is_err());
}

#[test]
fn what_does_not_finish_is_cut_off_at_the_deadline() {
    let mut harness = Harness::start();
    let mut busy = harness.connect().send("GET /half HTTP/1.1\r\nhost: x\r\n\r\n");
    harness.wait_for_arrivals(1);
    assert_eq!(
        harness.stop(),
        Drained {
            finished_connections: 0,
            aborted_connections: 1
        }
    );
    assert!(busy.reply().truncated);
}

#[test]
fn a_port_in_use_is_refused_by_name() {
    let harness = Harness::start();
    for threads in [1, 2] {
        let mut config = fermion_gateway::ServerConfig::new(harness.address);
        config.threads = threads;
        let error = fermion_gateway::Server::bind(config).unwrap_err().to_string();
        assert!(
            error.contains(&harness.address.to_string()) && error.contains("another program"),
            "{error}"
        );
    }
}
