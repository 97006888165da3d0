//! Connections by the library: `Pool::serve` and `Pool::talk`.

use std::net::TcpStream;
use std::os::unix::net::UnixStream;

use crate::listen::{ECHO, PATIENCE, leave, talk};
use crate::support::binary;

/// A pool of the library for connections.
fn library(wat: &str, processes: usize) -> wpool::Pool {
    let module = wpool::Module::from_bytes("talk.wat", wat.as_bytes()).expect("text");
    wpool::Pool::builder(module).processes(processes).connections().worker(binary()).build().expect("a pool")
}

#[test]
fn the_library_serves_a_listener_until_it_is_stopped() {
    let pool = library(ECHO, 2);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let service = pool.serve("_start", listener).expect("a service");
    let handle = service.handle();
    let clients = std::thread::spawn(move || {
        let said: Vec<String> = (0..10).map(|number| format!("client {number}")).collect();
        for text in &said {
            let stream = TcpStream::connect(address).unwrap();
            talk(&stream, text);
            leave(&stream);
        }
        handle.stop();
    });
    let outcomes: Vec<_> = service.collect();
    clients.join().expect("they were served");
    assert_eq!(outcomes.len(), 10);
    for outcome in &outcomes {
        let value = outcome.result.as_ref().expect("served");
        let traffic: wpool::Traffic = serde_json::from_slice(&value.bytes).expect("what went over it");
        assert_eq!((traffic.received, traffic.sent), (8, 8));
        assert!(outcome.tag.as_ref().and_then(|tag| tag.input.as_deref()).is_some_and(|peer| peer.starts_with("127.")));
    }
    assert!(TcpStream::connect(address).is_err(), "nobody listens any more");
}

#[test]
fn closing_the_pool_ends_a_service_when_its_clients_are_served() {
    let pool = library(ECHO, 2);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let service = pool.serve("_start", listener).expect("a service");
    let clients: Vec<_> = (0..2).map(|_| TcpStream::connect(address).unwrap()).collect();
    clients.iter().for_each(|client| talk(client, "before"));
    pool.close();
    assert!(TcpStream::connect(address).is_err(), "nobody listens any more");
    let waiting = pool.clone();
    let joined = std::thread::spawn(move || waiting.join());
    for client in &clients {
        assert!(!joined.is_finished(), "it waits for those who talk");
        talk(client, "served to the end");
        leave(client);
    }
    joined.join().expect("no panic").expect("closed");
    let outcomes: Vec<_> = service.collect();
    assert_eq!(outcomes.len(), 2);
    assert!(outcomes.iter().all(|outcome| outcome.result.is_ok()), "{outcomes:?}");
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    assert!(matches!(pool.serve("_start", listener), Err(wpool::CallError::Closed)));
}

#[test]
fn terminating_and_shutting_down_end_a_service_and_its_port() {
    let terminate: fn(&wpool::Pool) = wpool::Pool::terminate;
    for end in [terminate, |pool| _ = pool.shutdown(std::time::Duration::from_millis(50))] {
        let pool = library(ECHO, 1);
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let mut service = pool.serve("_start", listener).expect("a service");
        let client = TcpStream::connect(address).unwrap();
        talk(&client, "never done");
        end(&pool);
        assert!(TcpStream::connect(address).is_err(), "nobody listens any more");
        let outcome = service.next().expect("the one that was open");
        assert_eq!(outcome.kind(), wpool::Kind::Cancelled);
        assert!(service.next().is_none());
        assert!(pool.worker_pids().is_empty());
    }
}

#[test]
fn p16_accepted_connections_are_arguments_of_apply_async() {
    let pool = library(ECHO, 5);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let clients: Vec<_> = (0..5).map(|_| TcpStream::connect(address).unwrap()).collect();
    let talks: Vec<_> =
        (0..5).map(|_| pool.talk("_start", listener.accept().unwrap().0).expect("handed over")).collect();
    for (number, client) in clients.iter().enumerate() {
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        talk(client, &format!("client {number}, until Q"));
    }
    assert!(talks.iter().all(|talk| !talk.ready()));
    clients.iter().for_each(leave);
    for talk in talks {
        let traffic = talk.get().expect("it went well");
        assert_eq!((traffic.received, traffic.sent), (17, 17));
    }
}

#[test]
fn the_library_refuses_connections_where_they_have_no_place() {
    let pair = || UnixStream::pair().unwrap().0;
    let plain = wpool::Module::from_bytes("talk.wat", ECHO.as_bytes()).expect("text");
    let plain = wpool::Pool::builder(plain).processes(1).worker(binary()).build().expect("a pool");
    let error = plain.talk("_start", pair()).expect_err("not for connections").to_string();
    assert!(error.contains("PoolBuilder::connections"), "{error}");
    let functions = library(r#"(module (func (export "run") (param i32) (result i32) (local.get 0)))"#, 1);
    let error = functions.talk("run", pair()).expect_err("no program").to_string();
    assert!(error.contains("no program"), "{error}");
    let error = functions.apply::<i32>("run", 1).expect_err("no connection").to_string();
    assert!(error.contains("connections only"), "{error}");
}
