//! The output of `nodetool describering KEYSPACE`: ranges with their replicas, as the cluster itself places them.
//! Source: `TokenRange.toString`, which 4.1 and 5.0 write alike. A node's own tokens are not in it.
//!
//! ```text
//! TokenRange(start_token:-5, end_token:7, endpoints:[10.0.0.1, 10.0.0.2], rpc_endpoints:[10.0.0.1, 10.0.0.2],
//!   endpoint_details:[EndpointDetails(host:10.0.0.1, datacenter:dc1, rack:r1), EndpointDetails(host:10.0.0.2, …)])
//! ```

use std::collections::BTreeMap;

use super::{Held, Member, MemberState, TokenRange};

/// What every range begins with; a text with it is such an output.
pub const MARK: &str = "TokenRange(start_token:";

const HOST: &str = "EndpointDetails(host:";

/// The nodes by address, without tokens, and every range with its replicas (places among the nodes), as they stand
/// there but for a range that wraps around, which becomes two. Fails with what is wrong.
pub fn parse(text: &str) -> Result<(Vec<Member>, Vec<Held>), String> {
    let mut nodes: BTreeMap<&str, (&str, &str)> = BTreeMap::new();
    let mut listed: Vec<(TokenRange, Vec<&str>)> = Vec::new();
    for piece in text.split(MARK).skip(1) {
        let piece = piece.lines().next().unwrap_or_default();
        let bad = || format!("not understood: {}", super::super::lex::clip(piece, 80));
        let (start, end, endpoints, details) = parts(piece).ok_or_else(bad)?;
        for (host, data_center, rack) in details {
            nodes.insert(host, (data_center, rack));
        }
        if let Some(unknown) = endpoints.iter().find(|e| !nodes.contains_key(*e)) {
            return Err(format!("range ({start}, {end}]: no details of {unknown}"));
        }
        listed.extend(around(start, end).into_iter().map(|range| (range, endpoints.clone())));
    }
    let places: BTreeMap<&str, usize> = nodes.keys().enumerate().map(|(i, host)| (*host, i)).collect();
    let placed = listed.into_iter().map(|(range, hosts)| (range, hosts.iter().map(|h| places[h]).collect())).collect();
    Ok((nodes.iter().map(|(host, at)| member(host, at)).collect(), placed))
}

fn member(host: &str, (data_center, rack): &(&str, &str)) -> Member {
    Member {
        address: host.to_string(),
        host_id: None,
        data_center: data_center.to_string(),
        rack: rack.to_string(),
        state: MemberState::Normal,
        tokens: Vec::new(),
    }
}

/// As ranges that do not wrap around.
fn around(start: i64, end: i64) -> Vec<TokenRange> {
    let ranges = match start < end {
        true => vec![TokenRange { start, end }],
        false => vec![TokenRange { start, end: i64::MAX }, TokenRange { start: i64::MIN, end }],
    };
    ranges.into_iter().filter(|r| r.start < r.end).collect()
}

/// Host, data center, rack.
type Detail<'a> = (&'a str, &'a str, &'a str);

fn parts(piece: &str) -> Option<(i64, i64, Vec<&str>, Vec<Detail<'_>>)> {
    let (start, rest) = piece.split_once(", end_token:")?;
    let (end, rest) = rest.split_once(", endpoints:[")?;
    let (endpoints, rest) = rest.split_once("], rpc_endpoints:[")?;
    let (_, details) = rest.split_once("], endpoint_details:[")?;
    let endpoints = endpoints.split(", ").filter(|e| !e.is_empty()).collect();
    let details = details.split(HOST).skip(1).map(detail).collect::<Option<_>>()?;
    Some((start.trim().parse().ok()?, end.trim().parse().ok()?, endpoints, details))
}

/// `10.0.0.1, datacenter:dc1, rack:r1), ` or, at the end, `…)])`. Data center and rack may be missing.
fn detail(text: &str) -> Option<Detail<'_>> {
    let inside = text.trim_end_matches([' ', ',', ')', ']']);
    let (rest, rack) = inside.split_once(", rack:").unwrap_or((inside, ""));
    let (host, data_center) = rest.split_once(", datacenter:").unwrap_or((rest, ""));
    (!host.is_empty()).then_some((host, data_center, rack))
}
