//! The library of a token, and the threads that call it.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use base::Secret;
use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error, RvError};
use cryptoki::object::{Attribute, ObjectClass, ObjectHandle};
use cryptoki::session::{Session, UserType};
use cryptoki::slot::Slot;
use cryptoki::types::AuthPin;
use parking_lot::Mutex;

use fleetward_base as base;

use crate::tokens::TokenError;
use crate::uri::KeyUri;

/// Calls that are under way at once.
const THREADS: usize = 4;
/// A token that has not answered by then is out of reach.
const DEADLINE: Duration = Duration::from_secs(20);
/// A library that is not closed by then is left to itself.
const CLOSING: Duration = Duration::from_secs(5);

/// Which library, and the PIN of its tokens.
#[derive(Clone, Debug)]
pub struct ModuleConfig {
    pub library: PathBuf,
    pub pin: Secret<String>,
}

type Job = Box<dyn FnOnce(&mut Calls) + Send>;

/// A loaded library. Clones share it; with the last one its threads end.
#[derive(Clone)]
pub struct Module {
    inner: Arc<Inner>,
}

struct Inner {
    /// None once they are told to end.
    jobs: Option<mpsc::Sender<Job>>,
    /// Nobody sends here: it ends when the last thread has let go of the library.
    ended: Mutex<mpsc::Receiver<()>>,
}

impl Drop for Inner {
    /// Waits until the library is closed: a program that ends meanwhile tears it down under its threads.
    fn drop(&mut self) {
        self.jobs = None;
        self.ended.get_mut().recv_timeout(CLOSING).ok();
    }
}

impl Module {
    /// Loads the library and starts its threads.
    ///
    /// # Errors
    /// [`TokenError::Unreachable`] where it cannot be loaded.
    pub fn load(config: ModuleConfig) -> Result<Self, TokenError> {
        let library = config.library.display();
        let context = Pkcs11::new(&config.library)
            .map_err(|error| TokenError::Unreachable(format!("the library {library} cannot be loaded: {error}")))?;
        match context.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)) {
            Ok(()) | Err(Error::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => {}
            Err(error) => {
                return Err(TokenError::Unreachable(format!("the library {library} does not start: {error}")));
            }
        }
        let (jobs, waiting) = mpsc::channel::<Job>();
        let waiting = Arc::new(Mutex::new(waiting));
        let shared = Arc::new(Shared { context, pin: config.pin, refused: Mutex::default() });
        let (alive, ended) = mpsc::channel::<()>();
        for number in 0..THREADS {
            let (waiting, mut calls) =
                (Arc::clone(&waiting), Calls { shared: Arc::clone(&shared), sessions: HashMap::new() });
            let alive = alive.clone();
            let thread = std::thread::Builder::new().name(format!("pkcs11-{number}"));
            let started = thread.spawn(move || {
                loop {
                    // The lock is held while this thread waits and let go of with the job in hand.
                    let job = waiting.lock().recv();
                    let Ok(job) = job else { break };
                    job(&mut calls);
                }
                drop(calls);
                drop(alive);
            });
            started.map_err(|error| TokenError::Unreachable(format!("no thread for the token: {error}")))?;
        }
        // The threads alone hold it from here on, and with it the library.
        drop((alive, shared));
        Ok(Self { inner: Arc::new(Inner { jobs: Some(jobs), ended: Mutex::new(ended) }) })
    }

    /// Has `work` done on a thread of the library and waits for it: for threads that may wait.
    pub(super) fn call<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Calls) -> Result<T, TokenError> + Send + 'static,
    ) -> Result<T, TokenError> {
        let (answer, answered) = mpsc::sync_channel(1);
        let job: Job = Box::new(move |calls| {
            answer.send(work(calls)).ok();
        });
        let gone = || TokenError::Unreachable("the library's threads have ended".to_owned());
        self.inner.jobs.as_ref().ok_or_else(gone)?.send(job).map_err(|_| gone())?;
        answered.recv_timeout(DEADLINE).map_err(|error| match error {
            mpsc::RecvTimeoutError::Timeout => {
                TokenError::Unreachable(format!("no answer within {} s", DEADLINE.as_secs()))
            }
            mpsc::RecvTimeoutError::Disconnected => gone(),
        })?
    }

    /// As [`Self::call`], for code that must not wait.
    pub(super) async fn call_async<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Calls) -> Result<T, TokenError> + Send + 'static,
    ) -> Result<T, TokenError> {
        let module = self.clone();
        let waiting = tokio::task::spawn_blocking(move || module.call(work));
        waiting.await.map_err(|error| TokenError::Unreachable(error.to_string()))?
    }
}

struct Shared {
    context: Pkcs11,
    pin: Secret<String>,
    /// Tokens that refused the PIN: asked again they would lock themselves.
    refused: Mutex<HashMap<String, TokenError>>,
}

/// What one thread works with.
pub(super) struct Calls {
    shared: Arc<Shared>,
    sessions: HashMap<String, Session>,
}

impl Calls {
    /// Runs `work` in a session that is logged in to the token of `uri`, and once more in a new session where the old one
    /// turned out to be broken.
    pub(super) fn with_session<T>(
        &mut self,
        uri: &KeyUri,
        work: impl Fn(&Session) -> Result<T, Error>,
    ) -> Result<T, TokenError> {
        let token =
            format!("{}/{}", uri.token.as_deref().unwrap_or_default(), uri.serial.as_deref().unwrap_or_default());
        if let Some(session) = self.sessions.get(&token) {
            match work(session) {
                Err(error) if is_broken(&error) => {
                    self.sessions.remove(&token);
                }
                done => return done.map_err(|error| meaning(&error)),
            }
        }
        if let Some(refused) = self.shared.refused.lock().get(&token) {
            return Err(refused.clone());
        }
        let session = self.open(uri, &token)?;
        let done = work(&session).map_err(|error| meaning(&error));
        self.sessions.insert(token, session);
        done
    }

    fn open(&self, uri: &KeyUri, token: &str) -> Result<Session, TokenError> {
        let slot = self.slot(uri)?;
        let session = self.shared.context.open_rw_session(slot).map_err(|error| meaning(&error))?;
        let pin = AuthPin::from(self.shared.pin.expose().clone());
        match session.login(UserType::User, Some(&pin)) {
            Ok(()) | Err(Error::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => Ok(session),
            Err(error) => {
                let meant = meaning(&error);
                if matches!(meant, TokenError::Refused(_)) {
                    self.shared.refused.lock().insert(token.to_owned(), meant.clone());
                }
                Err(meant)
            }
        }
    }

    fn slot(&self, uri: &KeyUri) -> Result<Slot, TokenError> {
        let slots = self.shared.context.get_slots_with_token().map_err(|error| meaning(&error))?;
        let mut found = Vec::new();
        for slot in slots {
            let Ok(info) = self.shared.context.get_token_info(slot) else { continue };
            let label = uri.token.as_deref().is_none_or(|label| label == info.label());
            let serial = uri.serial.as_deref().is_none_or(|serial| serial == info.serial_number());
            if label && serial && info.token_initialized() {
                found.push(slot);
            }
        }
        match found.as_slice() {
            [slot] => Ok(*slot),
            [] => Err(TokenError::Unreachable(format!("there is no token for {uri}"))),
            _ => Err(TokenError::Refused(format!("several tokens fit {uri}; name one by its serial"))),
        }
    }
}

/// The one object of `class` that `uri` names; none where there is none.
pub(super) fn find(session: &Session, uri: &KeyUri, class: ObjectClass) -> Result<Vec<ObjectHandle>, Error> {
    let mut template = vec![Attribute::Class(class), Attribute::Token(true)];
    template.extend(uri.object.as_ref().map(|label| Attribute::Label(label.clone().into_bytes())));
    template.extend(uri.id.clone().map(Attribute::Id));
    session.find_objects(&template)
}

/// One object out of what was found.
pub(super) fn one(found: &[ObjectHandle], uri: &KeyUri, what: &str) -> Result<ObjectHandle, TokenError> {
    match found {
        [handle] => Ok(*handle),
        [] => Err(TokenError::NoKey(format!("{uri} names no {what}"))),
        _ => Err(TokenError::NoKey(format!("{uri} names several keys; name one by its id"))),
    }
}

/// Whether a new session may do better.
fn is_broken(error: &Error) -> bool {
    matches!(
        error,
        Error::Pkcs11(
            RvError::SessionHandleInvalid
                | RvError::SessionClosed
                | RvError::UserNotLoggedIn
                | RvError::DeviceRemoved
                | RvError::TokenNotPresent
                | RvError::DeviceError
                | RvError::KeyHandleInvalid
                | RvError::ObjectHandleInvalid,
            _
        )
    )
}

pub(super) fn meaning(error: &Error) -> TokenError {
    let Error::Pkcs11(code, call) = error else { return TokenError::Unreachable(error.to_string()) };
    let reason = match code {
        RvError::PinIncorrect => "the PIN is wrong; it is not tried again, as tokens lock themselves".to_owned(),
        RvError::PinLocked => "the PIN is locked".to_owned(),
        RvError::PinExpired => "the PIN has expired".to_owned(),
        RvError::PinInvalid | RvError::PinLenRange => "the PIN is none".to_owned(),
        RvError::UserPinNotInitialized => "no PIN was set on the token".to_owned(),
        RvError::KeyFunctionNotPermitted | RvError::MechanismInvalid | RvError::KeyTypeInconsistent => {
            format!("its key is not for this ({call}: {code:?})")
        }
        RvError::EncryptedDataInvalid | RvError::EncryptedDataLenRange => "it does not open under this key".to_owned(),
        other => return TokenError::Unreachable(format!("{call}: {other:?}")),
    };
    TokenError::Refused(reason)
}
