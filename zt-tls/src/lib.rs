//! Mutual TLS with SPIFFE identities on rustls: server and client configs that stay right while everything rotates.
