# copier update rewrites this file, unless "What is yours" in README.md names it.
"""A worker: a process that loads the archive, and answers on the connections that it is handed."""

from __future__ import annotations

import asyncio
import contextlib
import faulthandler
import json
import logging
import os
import signal
import socket
import ssl
import sys
import tempfile
import time
import traceback
from dataclasses import dataclass
from email.utils import formatdate
from functools import partial
from pathlib import Path
from typing import Any

import torch
import uvicorn
import uvloop
from uvicorn.server import ServerState

from deploy.asgi.app import Service
from deploy.asgi.batches import Batches
from deploy.asgi.connection import Connection
from deploy.asgi.keys import Keys
from deploy.asgi.plan import DRAIN, ENDED, KINDS, READY, Plan
