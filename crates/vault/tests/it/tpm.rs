//! swtpm by its socket: the bytes of the commands against a TPM 2.0 that somebody else wrote.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use fleetward_vault::{RootSeal, RootSealError, TpmAddress, TpmSeal, TpmSealConfig};
use tempfile::TempDir;

use crate::{holds_each_byte, made, opened};

/// A TPM with its state in a folder; it ends with this value.
struct Tpm {
    child: Child,
    address: SocketAddr,
}

impl Tpm {
    fn start(state: &Path) -> Self {
        let free = || TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address");
        let (address, control) = (free(), free());
        let child = Command::new("swtpm")
            .args(["socket", "--tpm2", "--flags", "not-need-init,startup-clear"])
            .arg("--tpmstate")
            .arg(format!("dir={}", state.display()))
            .arg("--server")
            .arg(format!("type=tcp,port={},bindaddr=127.0.0.1", address.port()))
            .arg("--ctrl")
            .arg(format!("type=tcp,port={},bindaddr=127.0.0.1", control.port()))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("swtpm is installed (scripts/setup.sh test)");
        let tpm = Self { child, address };
        // Its control port answers once it serves; a connection to the other port would be its one client.
        for _ in 0..2000 {
            if std::net::TcpStream::connect(control).is_ok() {
                return tpm;
            }
            std::thread::park_timeout(Duration::from_millis(10));
        }
        panic!("swtpm does not start");
    }

    fn seal(&self, pcrs: &[u8]) -> Arc<dyn RootSeal> {
        let config = TpmSealConfig { address: TpmAddress::Tcp(self.address), pcrs: pcrs.to_vec() };
        Arc::new(TpmSeal::new(config).expect("a seal"))
    }

    /// Extends a PCR, as a boot with something else in it would.
    fn extend(&self, pcr: u32) {
        use std::io::{Read, Write};
        let mut command = vec![0x80, 0x02, 0, 0, 0, 0, 0, 0, 0x01, 0x82];
        command.extend_from_slice(&pcr.to_be_bytes());
        command.extend_from_slice(&[0, 0, 0, 9, 0x40, 0, 0, 9, 0, 0, 0, 0, 0]);
        command.extend_from_slice(&[0, 0, 0, 1, 0, 0x0b]);
        command.extend_from_slice(&[7; 32]);
        let length = u32::try_from(command.len()).expect("short").to_be_bytes();
        command.splice(2..6, length);
        let mut stream = std::net::TcpStream::connect(self.address).expect("connects");
        stream.write_all(&command).expect("sent");
        let mut answer = [0; 10];
        stream.read_exact(&mut answer).expect("answered");
        assert_eq!(answer[6..], [0; 4], "TPM2_PCR_Extend");
    }
}

impl Drop for Tpm {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn state() -> TempDir {
    tempfile::tempdir().expect("a folder")
}

#[tokio::test]
async fn a_tpm_keeps_the_root_key_over_its_restart() {
    let state = state();
    let tpm = Tpm::start(state.path());
    let (rows, sealed) = made(&tpm.seal(&[])).await;
    // More often than it has room for objects: each time all are given back.
    for _ in 0..5 {
        assert_eq!(opened(&tpm.seal(&[]), &rows, &sealed).await.expect("opens"), b"plain");
    }
    holds_each_byte(&tpm.seal(&[]), &rows, &sealed).await;
    drop(tpm);
    let tpm = Tpm::start(state.path());
    assert_eq!(opened(&tpm.seal(&[]), &rows, &sealed).await.expect("opens"), b"plain");
}

#[tokio::test]
async fn another_tpm_does_not_open_it() {
    let (one, other) = (state(), state());
    let tpm = Tpm::start(one.path());
    let (rows, sealed) = made(&tpm.seal(&[])).await;
    let tpm = Tpm::start(other.path());
    let refused = opened(&tpm.seal(&[]), &rows, &sealed).await.expect_err("another seed");
    assert!(matches!(&refused, RootSealError::Refused { reason, .. } if reason.contains("another TPM")), "{refused}");
}

#[tokio::test]
async fn pcrs_bind_it_to_the_state_of_the_machine() {
    let state = state();
    let tpm = Tpm::start(state.path());
    let seal = tpm.seal(&[7, 16]);
    let (rows, sealed) = made(&seal).await;
    holds_each_byte(&seal, &rows, &sealed).await;
    tpm.extend(8);
    assert_eq!(opened(&seal, &rows, &sealed).await.expect("opens"), b"plain", "another PCR does not matter");
    // What it was bound to counts, whatever the flags of this start say.
    assert_eq!(opened(&tpm.seal(&[]), &rows, &sealed).await.expect("opens"), b"plain");
    tpm.extend(16);
    let refused = opened(&seal, &rows, &sealed).await.expect_err("the machine is another");
    assert!(matches!(&refused, RootSealError::Refused { reason, .. } if reason.contains("PCRs")), "{refused}");
}

#[tokio::test]
async fn a_tpm_that_is_not_there_is_out_of_reach() {
    let nobody = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address");
    for address in [TpmAddress::Tcp(nobody), TpmAddress::Device("/dev/no-such-tpm".into())] {
        let seal = TpmSeal::new(TpmSealConfig { address, pcrs: vec![] }).expect("a seal");
        let vault = fleetward_vault::Vault::sealed_by(Arc::new(seal));
        let refused = vault.new_root(&fleetward_base::SeededRng::new(1), 1).await.expect_err("no TPM");
        assert!(matches!(refused, RootSealError::Unreachable { .. }), "{refused}");
    }
    assert!(TpmSeal::new(TpmSealConfig { address: TpmAddress::Tcp(nobody), pcrs: vec![24] }).is_err());
}
