//! The way to the TPM of this machine: the kernel's device, or a simulated TPM behind a socket.
//!
//! Calls block: a command takes from a millisecond to seconds. Whoever runs on the agent's one thread hands them to
//! another. An answer that does not come in time is an error, so that a stuck TPM does not hold the agent.

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::str::FromStr;
use std::time::Duration;

use fleetward_attest::tpm::{Tpm, Transport};

/// Making an RSA key takes some TPMs the better part of a minute.
const PATIENCE: Duration = Duration::from_secs(120);
/// No response is longer (TPM 2.0 Part 2, MAX_RESPONSE_SIZE of all makers).
const RESPONSE_BYTES: usize = 4096;

/// Where the TPM is: a path of the kernel's device, `tcp:HOST:PORT` or `unix:PATH`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    Device(String),
    Tcp(String),
    Unix(String),
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            Some(("tcp", address)) if address.contains(':') => Ok(Self::Tcp(address.to_owned())),
            Some(("unix", path)) if !path.is_empty() => Ok(Self::Unix(path.to_owned())),
            None if text.starts_with('/') => Ok(Self::Device(text.to_owned())),
            _ => Err(String::from("a path such as /dev/tpmrm0, tcp:HOST:PORT or unix:PATH")),
        }
    }
}

impl Place {
    /// A connection to it.
    ///
    /// # Errors
    /// Where there is none.
    pub fn open(&self) -> io::Result<Tpm> {
        Ok(Tpm::new(match self {
            Self::Device(path) => Box::new(Device(File::options().read(true).write(true).open(path)?)),
            Self::Tcp(address) => {
                let stream = TcpStream::connect(address)?;
                stream.set_nodelay(true)?;
                stream.set_read_timeout(Some(PATIENCE))?;
                Box::new(Stream(stream))
            }
            Self::Unix(path) => {
                let stream = UnixStream::connect(path)?;
                stream.set_read_timeout(Some(PATIENCE))?;
                Box::new(Stream(stream))
            }
        }))
    }
}

/// The kernel takes a command in one write and gives its response in one read.
struct Device(File);

impl Transport for Device {
    fn transmit(&mut self, command: &[u8]) -> io::Result<Vec<u8>> {
        self.0.write_all(command)?;
        let mut response = vec![0; RESPONSE_BYTES];
        let count = self.0.read(&mut response)?;
        response.truncate(count);
        Ok(response)
    }
}

/// A socket on which commands and responses follow each other, as swtpm's.
struct Stream<S>(S);

impl<S: Read + Write + Send> Transport for Stream<S> {
    fn transmit(&mut self, command: &[u8]) -> io::Result<Vec<u8>> {
        const HEAD: usize = 10;
        self.0.write_all(command)?;
        let mut response = vec![0; HEAD];
        self.0.read_exact(&mut response)?;
        let size = response.get(2..6).and_then(|size| size.try_into().ok()).map_or(0, u32::from_be_bytes);
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        if !(HEAD..=RESPONSE_BYTES).contains(&size) {
            return Err(io::Error::other("a response of impossible size"));
        }
        response.resize(size, 0);
        self.0.read_exact(response.get_mut(HEAD..).unwrap_or_default())?;
        Ok(response)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_read() {
        assert_eq!("/dev/tpmrm0".parse(), Ok(Place::Device(String::from("/dev/tpmrm0"))));
        assert_eq!("tcp:127.0.0.1:2321".parse(), Ok(Place::Tcp(String::from("127.0.0.1:2321"))));
        assert_eq!("unix:/run/tpm".parse(), Ok(Place::Unix(String::from("/run/tpm"))));
        for bad in ["", "tpm0", "tcp:", "tcp:host", "unix:", "udp:a:1"] {
            assert!(bad.parse::<Place>().is_err(), "{bad}");
        }
    }
}
