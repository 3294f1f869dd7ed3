//! What a unit of work is given: [`TenantTx`], bound to one tenant, or [`SystemTx`], which sees them all.
//!
//! No method of `TenantTx` takes a tenant: each statement binds the one that the transaction belongs to, and PostgreSQL's
//! policies hold it to that a second time. `SystemTx` has only what must look across tenants (finding a token by its
//! hash, due rollouts, the trust index); for all else it enters a tenant.

use std::sync::Arc;

use fleetward_base::TenantId;

use crate::StoreError;
use crate::conn::Conn;
use crate::engine::Scoped;

/// Whose rows a transaction works on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// The installation's own rows: its keys, its administrators' tokens, its part of the journal.
    Installation,
    Tenant(Arc<TenantId>),
    /// All tenants; only `SystemTx`'s own statements run so.
    All,
}

impl Scope {
    /// What stands in the column `tenant_id`.
    pub(crate) fn key(&self) -> &str {
        match self {
            Self::Tenant(tenant) => tenant.as_str(),
            Self::Installation | Self::All => "",
        }
    }

    /// What PostgreSQL's policies compare with.
    fn setting(&self) -> &str {
        match self {
            Self::Tenant(tenant) => tenant.as_str(),
            Self::Installation => "@",
            Self::All => "*",
        }
    }
}

/// A transaction on the rows of one tenant, or of the installation itself.
#[derive(Debug)]
pub struct TenantTx {
    pub(crate) conn: Conn,
    pub(crate) scope: Scope,
}

impl TenantTx {
    /// The tenant whose rows these are; none for the installation's own.
    pub fn tenant(&self) -> Option<&TenantId> {
        match &self.scope {
            Scope::Tenant(tenant) => Some(tenant),
            Scope::Installation | Scope::All => None,
        }
    }
}

impl Scoped for TenantTx {
    type Key = TenantId;

    fn enclose(mut conn: Conn, tenant: TenantId) -> Self {
        let scope = Scope::Tenant(Arc::new(tenant));
        conn.start_in_scope(scope.setting());
        Self { conn, scope }
    }

    fn release(self) -> Conn {
        self.conn
    }
}

/// A transaction across tenants.
#[derive(Debug)]
pub struct SystemTx {
    inner: TenantTx,
}

impl SystemTx {
    /// Goes on within one tenant, in the same transaction.
    pub async fn enter(&mut self, tenant: &TenantId) -> Result<&mut TenantTx, StoreError> {
        if self.inner.tenant() != Some(tenant) {
            self.switch(Scope::Tenant(Arc::new(tenant.clone()))).await?;
        }
        Ok(&mut self.inner)
    }

    /// Goes on with the installation's own rows, in the same transaction.
    pub async fn installation(&mut self) -> Result<&mut TenantTx, StoreError> {
        self.switch(Scope::Installation).await?;
        Ok(&mut self.inner)
    }

    /// The connection with every tenant in sight.
    pub(crate) async fn across(&mut self) -> Result<&mut Conn, StoreError> {
        self.switch(Scope::All).await?;
        Ok(&mut self.inner.conn)
    }

    async fn switch(&mut self, scope: Scope) -> Result<(), StoreError> {
        if self.inner.scope != scope {
            self.inner.conn.set_scope(scope.setting()).await?;
            self.inner.scope = scope;
        }
        Ok(())
    }
}

impl Scoped for SystemTx {
    type Key = ();

    fn enclose(mut conn: Conn, (): ()) -> Self {
        let scope = Scope::All;
        conn.start_in_scope(scope.setting());
        Self { inner: TenantTx { conn, scope } }
    }

    fn release(self) -> Conn {
        self.inner.conn
    }
}
