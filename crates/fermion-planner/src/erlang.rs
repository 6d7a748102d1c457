//! How many servers a load needs: Erlang's B formula, by its recursion, which neither overflows nor loses precision.
//! (A. K. Erlang, 1917; the recursion as in ITU-T E.501.)

/// The probability that an arrival finds all `servers` busy, when `offered` of them would be busy on average
/// (arrivals per second times seconds of service). 0 for no load, 1 for no servers.
pub fn blocking(servers: u32, offered: f64) -> f64 {
    if offered <= 0.0 {
        return if servers == 0 { 1.0 } else { 0.0 };
    }
    (1..=servers).fold(1.0, |blocked, n| {
        let busy = offered * blocked;
        busy / (f64::from(n) + busy)
    })
}

/// The fewest servers with which at most `blocked_max` of the arrivals find none free; never more than `servers_max`.
pub fn servers(offered: f64, blocked_max: f64, servers_max: u32) -> u32 {
    if offered <= 0.0 {
        return 0;
    }
    let mut blocked = 1.0;
    let mut n = 0;
    while blocked > blocked_max && n < servers_max {
        n += 1;
        let busy = offered * blocked;
        blocked = busy / (f64::from(n) + busy);
    }
    n
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_published_tables() {
        // Offered erlangs at which a group of that many servers blocks 1 % and 5 % of calls.
        for (n, offered, blocked) in [
            (1, 0.0101, 0.01),
            (5, 1.3608, 0.01),
            (10, 4.4612, 0.01),
            (100, 84.064, 0.01),
            (10, 6.2157, 0.05),
        ] {
            assert!((blocking(n, offered) - blocked).abs() < 2e-4, "{n} {offered}");
            assert_eq!(servers(offered - 0.001, blocked, 1_000), n);
            assert_eq!(servers(offered * 1.01, blocked, 1_000), n + 1);
        }
    }

    #[test]
    fn no_load_needs_nothing_and_the_bound_holds() {
        assert_eq!(servers(0.0, 0.01, 10), 0);
        assert_eq!(servers(1e9, 0.01, 10), 10);
        assert!((blocking(0, 3.0) - 1.0).abs() < f64::EPSILON);
    }
}
