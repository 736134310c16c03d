//! Clients that vanish while their query runs.
//!
//! The end of what a client says is no sign of that: it may still read. Its socket is on this host, and the kernel
//! tells whether anybody holds it.

use std::{
    io,
    net::{IpAddr, SocketAddr},
};

use netlink_packet_core::{NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload};
use netlink_packet_sock_diag::{
    SockDiagMessage,
    constants::{AF_INET, AF_INET6, IPPROTO_TCP},
    inet::{ExtensionFlags, InetRequest, SocketId, StateFlags},
};
use netlink_sys::{Socket, SocketAddr as KernelAddr, protocols::NETLINK_SOCK_DIAG};

/// What the kernel says of one socket, with room to spare.
const ANSWER_BYTES: usize = 8 << 10;
const KERNEL: u32 = 0;

/// Whether nobody holds the other end of a connection within this host any more, whose ends are these.
pub(crate) fn is_gone(own: io::Result<SocketAddr>, other: io::Result<SocketAddr>) -> io::Result<bool> {
    let (own, other) = match (own, other) {
        (Ok(own), Ok(other)) => (own, other),
        // A connection that was reset has no other end.
        (_, Err(error)) if error.kind() == io::ErrorKind::NotConnected => return Ok(true),
        (Err(error), _) | (_, Err(error)) => return Err(error),
    };
    let mut socket = Socket::new(NETLINK_SOCK_DIAG)?;
    socket.bind_auto()?;
    socket.connect(&KernelAddr::new(KERNEL, 0))?;
    socket.send(&question(own, other), 0)?;
    let mut answer = Vec::with_capacity(ANSWER_BYTES);
    socket.recv(&mut answer, libc::MSG_DONTWAIT)?;
    let answer = NetlinkMessage::<SockDiagMessage>::deserialize(&answer).map_err(io::Error::other)?;
    match answer.payload {
        // A closed socket has none.
        NetlinkPayload::InnerMessage(SockDiagMessage::InetResponse(found)) => Ok(found.header.inode == 0),
        NetlinkPayload::Error(error) => match error.to_io() {
            error if error.kind() == io::ErrorKind::NotFound => Ok(true),
            error => Err(error),
        },
        _ => Err(io::Error::other("the kernel said nothing of the socket")),
    }
}

/// A request for one socket, which is the other end of ours.
fn question(own: SocketAddr, other: SocketAddr) -> Vec<u8> {
    // A socket of IPv6 that is connected by IPv4 is found by that.
    let (source, destination) = (other.ip().to_canonical(), own.ip().to_canonical());
    let family = match source {
        IpAddr::V4(_) => AF_INET,
        IpAddr::V6(_) => AF_INET6,
    };
    let socket_id = SocketId {
        source_port: other.port(),
        destination_port: own.port(),
        source_address: source,
        destination_address: destination,
        interface_id: 0,
        // Any.
        cookie: [u8::MAX; 8],
    };
    let request = InetRequest {
        family,
        protocol: IPPROTO_TCP,
        extensions: ExtensionFlags::empty(),
        states: StateFlags::all(),
        socket_id,
    };
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST;
    let mut message = NetlinkMessage::new(header, SockDiagMessage::InetRequest(request).into());
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    bytes
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read, Write},
        net::{Shutdown, TcpListener, TcpStream},
    };

    use super::*;

    fn check(address: &str, to: &str) {
        let listener = TcpListener::bind(address).unwrap();
        let to = (to, listener.local_addr().unwrap().port());
        let client = TcpStream::connect(to).unwrap();
        let (mut own, _) = listener.accept().unwrap();
        let ask = |own: &TcpStream| is_gone(own.local_addr(), own.peer_addr()).unwrap();
        assert!(!ask(&own));
        client.shutdown(Shutdown::Write).unwrap();
        assert_eq!(own.read(&mut [0]).unwrap(), 0);
        assert!(!ask(&own), "it still reads");
        drop(client);
        assert!(ask(&own));
    }

    #[test]
    fn a_client_that_has_said_everything_is_told_from_one_that_is_gone() {
        check("127.0.0.1:0", "127.0.0.1");
        check("[::1]:0", "::1");
        check("[::]:0", "127.0.0.1");
    }

    #[test]
    fn a_client_that_was_reset_is_gone() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let nobody = "127.0.0.1:9".parse().unwrap();
        assert!(is_gone(listener.local_addr(), Ok(nobody)).unwrap());

        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut own, _) = listener.accept().unwrap();
        own.write_all(b"unread").unwrap();
        client.peek(&mut [0]).unwrap();
        drop(client);
        assert!(own.read(&mut [0]).is_err());
        assert!(own.peer_addr().is_err());
        assert!(is_gone(own.local_addr(), own.peer_addr()).unwrap());
    }
}
