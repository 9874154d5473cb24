//! Workload and user identity for zero-trust services: X.509-SVIDs and OIDC access tokens, verified strictly and offline.
