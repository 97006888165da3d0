//! Serves and reaches ports with the standard library's sockets: an ordinary
//! program's code, which finds out at run time what it was granted.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream, ToSocketAddrs, UdpSocket};

wit_bindgen::generate!({ world: "ports", path: "../../wit/examples" });

/// The longest datagram that is read.
const DATAGRAM: usize = 2048;

struct Ports;

/// An error, and what was being done.
fn while_<E: std::fmt::Display>(doing: &str) -> impl FnOnce(E) -> String {
    move |error| format!("{doing}: {error}")
}

fn client(address: &str) -> Result<TcpStream, String> {
    TcpStream::connect(address).map_err(while_("connect"))
}

impl Guest for Ports {
    fn serve(port: u16) -> Result<String, String> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).map_err(while_("bind"))?;
        let (mut stream, _peer) = listener.accept().map_err(while_("accept"))?;
        writeln!(stream, "this is port {port}").map_err(while_("greet"))?;
        let mut line = String::new();
        BufReader::new(&stream).read_line(&mut line).map_err(while_("read"))?;
        write!(stream, "you said {line}").map_err(while_("answer"))?;
        Ok(line.trim_end().to_owned())
    }

    fn fetch(address: String, text: String) -> Result<String, String> {
        let mut stream = client(&address)?;
        stream.write_all(text.as_bytes()).map_err(while_("write"))?;
        stream.shutdown(std::net::Shutdown::Write).map_err(while_("shut down"))?;
        let mut all = String::new();
        stream.read_to_string(&mut all).map_err(while_("read"))?;
        Ok(all)
    }

    fn datagram(address: String, text: String) -> Result<String, String> {
        let address = address.to_socket_addrs().map_err(while_("look up"))?.next().ok_or("no address")?;
        let any = if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
        let socket = UdpSocket::bind(any).map_err(while_("bind"))?;
        socket.send_to(text.as_bytes(), address).map_err(while_("send"))?;
        let mut block = [0; DATAGRAM];
        let (length, _from) = socket.recv_from(&mut block).map_err(while_("receive"))?;
        Ok(String::from_utf8_lossy(&block[..length]).into_owned())
    }

    fn answer(address: String) -> Result<String, String> {
        let socket = UdpSocket::bind(&address).map_err(while_("bind"))?;
        let mut block = [0; DATAGRAM];
        let (length, from) = socket.recv_from(&mut block).map_err(while_("receive"))?;
        let text = String::from_utf8_lossy(&block[..length]).into_owned();
        // Whoever it was: the grant decides whether there is an answer.
        socket.send_to(format!("you said {text}").as_bytes(), from).map_err(while_("answer"))?;
        Ok(text)
    }

    fn look_up(name: String) -> Result<Vec<String>, String> {
        let found = (name.as_str(), 0).to_socket_addrs().map_err(while_("look up"))?;
        Ok(found.map(|address| address.ip().to_string()).collect())
    }

    fn listen_at(address: String) -> Result<String, String> {
        let listener = TcpListener::bind(&address).map_err(while_("listen"))?;
        listener.local_addr().map(|address| address.to_string()).map_err(while_("address"))
    }

    fn bind_at(address: String) -> Result<String, String> {
        let socket = UdpSocket::bind(&address).map_err(while_("bind"))?;
        socket.local_addr().map(|address| address.to_string()).map_err(while_("address"))
    }

    fn leave_open(address: String) -> Result<String, String> {
        let listener = TcpListener::bind(&address).map_err(while_("listen"))?;
        let local = listener.local_addr().map_err(while_("address"))?;
        std::mem::forget(listener);
        Ok(local.to_string())
    }

    fn hoard(address: String, count: u32) -> Result<u32, String> {
        let mut kept = Vec::new();
        for _ in 0..count {
            match client(&address) {
                Ok(stream) => kept.push(stream),
                Err(_) if !kept.is_empty() => break,
                Err(error) => return Err(error),
            }
        }
        Ok(kept.len() as u32)
    }

    fn look_up_often(name: String, count: u32) -> u32 {
        (0..count).map(|_| u32::from((name.as_str(), 0).to_socket_addrs().is_ok())).sum()
    }

    fn wander(address: String, elsewhere: String) -> Result<String, String> {
        let socket = UdpSocket::bind("0.0.0.0:0").map_err(while_("bind"))?;
        socket.connect(&address).map_err(while_("connect"))?;
        socket.send(b"hello").map_err(while_("send"))?;
        let mut block = [0; DATAGRAM];
        let length = socket.recv(&mut block).map_err(while_("receive"))?;
        let heard = String::from_utf8_lossy(&block[..length]).into_owned();
        match socket.send_to(b"psst", &elsewhere) {
            Ok(_) => Ok(format!("{heard}; and reached {elsewhere}")),
            Err(error) => Err(format!("{heard}; then: {error}")),
        }
    }

    fn flood(address: String, count: u64) -> Result<u64, String> {
        let mut stream = client(&address)?;
        let block = [b'x'; 1 << 16];
        let mut sent = 0;
        while sent < count {
            let next = (count - sent).min(block.len() as u64) as usize;
            stream.write_all(&block[..next]).map_err(while_("write"))?;
            sent += next as u64;
        }
        Ok(sent)
    }
}

export!(Ports);
