//! Connections as arguments: Python's `apply_async(talk, (conn,))`, and the
//! loop around it that accepts.

use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use crate::api::error::CallError;
use crate::api::functions::{Callee, Take};
use crate::api::options::{CallOptions, at_least_one};
use crate::api::result::{AsyncResult, Completion};
use crate::api::{Inner, Pool};
use crate::error::Error;
use crate::outcome::{Outcome, Traffic};
use crate::pool::job::Terms;
use crate::pool::listen::{self, Acceptor, Stopper, connected};
use crate::pool::{Chunksize, MapOptions, Outcomes, Room};
use crate::wire::message::Abi;

/// Connections that are served: an outcome for each, as they end. Its value is
/// a [`Traffic`], and its [`tag`](Outcome::tag) has the client's address.
///
/// It accepts until it is [stopped](Self::stop) or its pool is closed; the
/// connections that it has accepted are served to their end then. It accepts no
/// further ahead of who reads the outcomes than the
/// [window](CallOptions::window) goes, so somebody must read them.
///
/// | | accepts | connections that are open or accepted |
/// |---|---|---|
/// | [`stop`](Self::stop), [`Pool::close`] | no more | are served; [`Pool::join`] waits for them |
/// | [`Pool::shutdown`] | no more | are served for its grace, then ended |
/// | [`Pool::terminate`], the drop of the pool or of the service | no more | are ended, as `cancelled` |
#[derive(Debug)]
pub struct Service {
    outcomes: Outcomes,
    stopper: Stopper,
}

/// Ends a [`Service`] from elsewhere.
#[derive(Clone, Debug)]
pub struct ServiceHandle(Stopper);

impl ServiceHandle {
    /// Accepts no more. Connections that are open, or accepted, are served;
    /// then the service is at its end.
    ///
    /// ```
    /// use std::time::Duration;
    /// use wpool::ServiceHandle;
    ///
    /// fn for_a_minute(service: ServiceHandle) {
    ///     std::thread::spawn(move || {
    ///         std::thread::sleep(Duration::from_secs(60));
    ///         service.stop();
    ///     });
    /// }
    /// ```
    pub fn stop(&self) {
        self.0.stop();
    }
}

impl Service {
    /// What ends it.
    ///
    /// ```
    /// use wpool::Service;
    ///
    /// fn all(service: Service) -> usize {
    ///     let handle = service.handle();
    ///     // After the first failure no more are accepted.
    ///     service.inspect(|outcome| if outcome.result.is_err() { handle.stop() }).count()
    /// }
    /// ```
    #[must_use]
    pub fn handle(&self) -> ServiceHandle {
        ServiceHandle(self.stopper.clone())
    }

    /// As [`ServiceHandle::stop`].
    ///
    /// ```
    /// use wpool::Service;
    ///
    /// fn finish(service: Service) -> usize {
    ///     service.stop();
    ///     service.count()
    /// }
    /// ```
    pub fn stop(&self) {
        self.stopper.stop();
    }
}

impl Iterator for Service {
    type Item = Outcome;

    fn next(&mut self) -> Option<Outcome> {
        self.outcomes.next()
    }
}

impl std::iter::FusedIterator for Service {}

impl Drop for Service {
    fn drop(&mut self) {
        self.stopper.stop();
    }
}

impl Pool {
    /// Hands a connection to a worker and does not wait for its end: it is the
    /// standard input and output of one run of the program, which is the
    /// module's `_start`. The pool must be
    /// [for connections](super::PoolBuilder::connections).
    ///
    /// ```no_run
    /// # fn example(pool: &wpool::Pool, listener: std::net::TcpListener) -> Result<(), Box<dyn std::error::Error>> {
    /// for connection in listener.incoming() {
    ///     pool.talk("_start", connection?)?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`apply_async`](Self::apply_async); [`CallError::Usage`] for a pool
    /// that is not for connections, and for a function that is no program.
    #[doc(alias = "Pool.apply_async")]
    pub fn talk<'c>(
        &self,
        call: impl Into<CallOptions<'c>>,
        connection: impl Into<OwnedFd>,
    ) -> Result<AsyncResult<Traffic>, CallError> {
        let call = call.into();
        let callee = self.inner.program(&call)?;
        let connection = connection.into();
        // Whatever wakes its reader at the other end, a worker's reads wait.
        rustix::io::ioctl_fionbio(&connection, false)
            .map_err(|errno| CallError::usage(format!("the connection is none: {errno}")))?;
        self.queue(&call, callee, connected(0, connection, String::new()), Room::Wait)
    }

    /// Accepts connections and hands each to a worker, as [`talk`](Self::talk)
    /// does: as many as the pool has workers are served at once, as many again
    /// are accepted, and the others wait in the system's queue.
    ///
    /// ```no_run
    /// # fn example(pool: &wpool::Pool) -> Result<(), Box<dyn std::error::Error>> {
    /// let listener = std::net::TcpListener::bind("127.0.0.1:8001")?;
    /// for outcome in pool.serve("_start", listener)? {
    ///     println!("{}: {:?}", outcome.kind(), outcome.tag.and_then(|tag| tag.input));
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`talk`](Self::talk), and [`CallError::Pool`] for a listener that is
    /// none.
    pub fn serve<'c>(&self, call: impl Into<CallOptions<'c>>, listener: TcpListener) -> Result<Service, CallError> {
        let call = call.into();
        let callee = self.inner.program(&call)?;
        let cannot = |error| CallError::Pool(Arc::new(Error::io("cannot serve")(error)));
        let acceptor = Acceptor::tcp(listener).map_err(cannot)?;
        let window = call.window.map(|items| at_least_one("window", items)).transpose()?;
        let options = MapOptions {
            ordered: false,
            chunksize: Chunksize::Auto,
            window: Some(listen::window(window.or(self.inner.defaults.window), self.inner.processes)),
            ..MapOptions::default()
        };
        let stopper = acceptor.stopper();
        let done = Completion::new(self.inner.gate.enter()?, Arc::clone(&self.inner.callbacks));
        let terms = Terms { finale: Some(done as _), ..self.inner.terms(&callee, &call)? };
        let outcomes = self.inner.engine.outcomes_on(acceptor, options, terms);
        let outcomes = outcomes.map_err(|error| CallError::Pool(Arc::new(error)))?;
        self.inner.gate.stream(outcomes.job());
        self.inner.gate.service(stopper.downgrade());
        Ok(Service { outcomes, stopper })
    }
}

impl Inner {
    /// The program that a connection is to be handed to.
    fn program(&self, call: &CallOptions<'_>) -> Result<Callee, CallError> {
        let spec = &self.engine.shared().spec;
        if !spec.capabilities.connections {
            return Err(CallError::usage("the pool is not for connections; build it with PoolBuilder::connections"));
        }
        let callee = self.functions.callee(call, Take::Either)?;
        let abi = spec.targets.get(usize::from(callee.target)).map(|target| target.abi);
        if abi != Some(Abi::Command) {
            return Err(CallError::usage(format!("{} is no program: it has no standard streams", callee.name)));
        }
        Ok(callee)
    }
}
