"""Solana itself: its nodes, its programs' accounts, the wallet's transactions. No part of it decides what to swap."""
