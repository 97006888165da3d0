//! Programs with sockets: tasks that serve ports, and connections as tasks.
//! Their clients are in here, too.

use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use wpool::{AsyncResult, CallError, CallOptions, Capabilities, Module, Pool, Traffic};

use crate::{LONG, yes};

/// A way to call `serve` for all ports; what the servers heard.
type Call = fn(&Pool, &[u16]) -> Result<Vec<String>, CallError>;

/// Those that have all servers wait at once.
const AT_ONCE: [(&str, Call); 7] = [
    ("apply_async", |pool, ports| {
        let calls: Vec<AsyncResult<String>> =
            ports.iter().map(|port| pool.apply_async("serve", port)).collect::<Result<_, _>>()?;
        calls.iter().map(AsyncResult::get).collect()
    }),
    ("map", |pool, ports| pool.map(one_each(), ports.to_vec())),
    ("map_async", |pool, ports| pool.map_async(one_each(), ports.to_vec())?.get()),
    ("imap", |pool, ports| pool.imap(one_each(), ports.to_vec())?.collect()),
    ("imap_unordered", |pool, ports| {
        let mut heard: Vec<String> = pool.imap_unordered(one_each(), ports.to_vec())?.collect::<Result<_, _>>()?;
        heard.sort_unstable();
        Ok(heard)
    }),
    ("starmap", |pool, ports| pool.starmap(one_each(), ports.iter().map(|port| [*port]).collect::<Vec<_>>())),
    ("starmap_async", |pool, ports| {
        pool.starmap_async(one_each(), ports.iter().map(|port| [*port]).collect::<Vec<_>>())?.get()
    }),
];

/// A worker for each port, however long the last servers waited.
fn one_each() -> CallOptions<'static> {
    CallOptions::new("serve").chunksize(1)
}

/// P15: tasks that each serve a port, by every kind of call.
pub fn servers(module: Module) -> Result<()> {
    let ports = free_ports(3)?;
    let mut grants = Capabilities::none();
    for port in &ports {
        grants = grants.allow_net(&format!("127.0.0.1:{port}"))?;
    }
    let pool = Pool::builder(module).processes(ports.len()).capabilities(grants).build()?;
    let apply: Call = |pool, ports| ports.iter().map(|port| pool.apply("serve", port)).collect();
    visited("apply", apply, &pool, &ports, one_after_the_other)?;
    for (name, call) in AT_ONCE {
        visited(name, call, &pool, &ports, all_together)?;
    }
    Ok(())
}

/// Calls `serve`, while somebody visits the ports; tells what both heard.
fn visited(
    name: &str,
    call: Call,
    pool: &Pool,
    ports: &[u16],
    visit: fn(&[u16]) -> Result<&'static str>,
) -> Result<()> {
    std::thread::scope(|scope| {
        let visitor = scope.spawn(|| visit(ports));
        let heard = call(pool, ports)?;
        let seen = visitor.join().map_err(|_| anyhow!("the visitor panicked"))??;
        println!("{name}: {}; {seen}", heard.join(", "));
        Ok(())
    })
}

/// Visits one port after the other. Nobody serves those that come later.
fn one_after_the_other(ports: &[u16]) -> Result<&'static str> {
    for (number, port) in ports.iter().enumerate() {
        let mut client = served(*port)?;
        for later in &ports[number + 1..] {
            ensure!(TcpStream::connect((Ipv4Addr::LOCALHOST, *later)).is_err(), "a later port is served");
        }
        talk(&mut client, *port, number)?;
    }
    Ok("in the order of the ports")
}

/// Knocks at all ports, the last one first, before it talks to anybody.
fn all_together(ports: &[u16]) -> Result<&'static str> {
    let clients: Vec<Client> = ports.iter().rev().map(|port| served(*port)).collect::<Result<_>>()?;
    for ((number, port), mut client) in ports.iter().enumerate().rev().zip(clients) {
        talk(&mut client, *port, number)?;
    }
    Ok("all at once")
}

/// What a visitor and a server say.
fn talk(client: &mut Client, port: u16, number: usize) -> Result<()> {
    ensure!(client.hear()? == format!("this is port {port}"), "another port");
    client.say(&format!("hello {number}"))?;
    ensure!(client.hear()? == format!("you said hello {number}"), "another answer");
    Ok(())
}

/// P16: a chat server. The parent accepts, a pool of five talks.
pub fn chat(module: Module) -> Result<()> {
    let pool = Pool::builder(module).processes(5).connections().build()?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let mut talks: Vec<AsyncResult<Traffic>> = Vec::new();
    let mut come = || -> Result<Client> {
        let client = Client::new(TcpStream::connect(listener.local_addr()?)?)?;
        let (connection, _peer) = listener.accept()?;
        talks.push(pool.talk("_start", connection)?);
        Ok(client)
    };
    let mut clients = (0..5).map(|_| come()).collect::<Result<Vec<Client>>>()?;
    for (number, client) in clients.iter_mut().enumerate() {
        println!("client {number} hears: {}", client.ask(&format!("I am {number}"))?);
    }
    let mut sixth = come()?;
    sixth.say("so am I")?;
    println!("the sixth waits: {}", yes(sixth.waits(Duration::from_millis(200))?));
    for line in ["one", "two", "Q"] {
        println!("client 0 types {line} and hears: {}", clients[0].ask(line)?);
    }
    println!("the sixth hears: {}", sixth.hear()?);
    // Client 1 hangs up.
    drop(clients.remove(1));
    let mut seventh = come()?;
    println!("the seventh hears: {}", seventh.ask("and I")?);
    for client in clients[1..].iter_mut().chain([&mut sixth, &mut seventh]) {
        ensure!(client.ask("Q")? == "bye", "no farewell");
    }
    for (number, talk) in talks.iter().enumerate() {
        let Traffic { received, sent } = talk.get()?;
        println!("talk {number}: {received} bytes received, {sent} sent");
    }
    Ok(())
}

/// A connection, line by line.
struct Client {
    reader: BufReader<TcpStream>,
}

impl Client {
    fn new(stream: TcpStream) -> Result<Self> {
        stream.set_read_timeout(Some(LONG))?;
        Ok(Self { reader: BufReader::new(stream) })
    }

    fn say(&mut self, text: &str) -> Result<()> {
        // In one piece: traffic is counted.
        Ok(self.reader.get_mut().write_all(format!("{text}\n").as_bytes())?)
    }

    fn hear(&mut self) -> Result<String> {
        let mut line = String::new();
        self.reader.read_line(&mut line).context("no answer")?;
        Ok(line.trim_end().to_owned())
    }

    fn ask(&mut self, text: &str) -> Result<String> {
        self.say(text)?;
        self.hear()
    }

    /// Whether there is no answer for so long.
    fn waits(&mut self, time: Duration) -> Result<bool> {
        let stream = self.reader.get_ref();
        stream.set_read_timeout(Some(time))?;
        let late = stream.peek(&mut [0]).is_err_and(|error| error.kind() == ErrorKind::WouldBlock);
        stream.set_read_timeout(Some(LONG))?;
        Ok(late)
    }
}

/// A connection to a port, once somebody serves it.
fn served(port: u16) -> Result<Client> {
    let began = Instant::now();
    loop {
        match TcpStream::connect((Ipv4Addr::LOCALHOST, port)) {
            Ok(stream) => return Client::new(stream),
            Err(error) => ensure!(began.elapsed() < LONG, "nobody serves the port: {error}"),
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Ports that the system says are free.
fn free_ports(count: usize) -> Result<Vec<u16>> {
    let taken: Vec<TcpListener> =
        (0..count).map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).collect::<Result<_, _>>()?;
    Ok(taken.iter().map(|listener| Ok(listener.local_addr()?.port())).collect::<Result<_, std::io::Error>>()?)
}
