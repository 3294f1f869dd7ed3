//! SQLite and PostgreSQL behind one seam.
