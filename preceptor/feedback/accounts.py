"""Who may come in: invitations, tokens and sessions. The store keeps hashes of secrets, never the secrets.

Secrets are 192 random bits, so that a plain SHA-256 of them cannot be guessed back; passwords that people choose would
need a slow hash, and there are none.
"""

import hashlib
import secrets
from dataclasses import dataclass

import sqlalchemy as sql

from preceptor.feedback.audit import note
from preceptor.feedback.labelers import ROLES, check_name
from preceptor.feedback.store import Store, insert_new
from preceptor.feedback.tables import invitations, labelers, sessions
from preceptor.run.errors import UserError, nearest

SESSION = sql.select(sessions.c.labeler, labelers.c.role, sessions.c.form).join(
    labelers, labelers.c.name == sessions.c.labeler).where(
    sessions.c.secret == sql.bindparam("secret"), sessions.c.until >= sql.bindparam("now"))  # asked for every page


@dataclass(frozen=True, slots=True)
class Session:
    """Somebody who is signed in; `form` is what every form of his must carry, so that no other site can send one."""

    labeler: str
    role: str
    form: str


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def invite(store: Store, name: str, role: str, who: str, days: float = 7.0) -> str:
    """A secret that lets its bearer in once, as `name`, for so many days.

    Raises:
        UserError: the name cannot be read, or the role is unknown.
    """
    check_name(name)
    if role not in ROLES:
        raise UserError(f"Unknown role '{role}'.", nearest(role, ROLES))
    secret = secrets.token_urlsafe(24)
    with store.writing() as connection:
        until = store.now() + days * 86400
        connection.execute(invitations.insert().values(secret=_hash(secret), name=name, role=role, until=until))
        note(store, connection, who, "invited", name, role=role)
    return secret


def invited(store: Store, secret: str) -> str | None:
    """The name on an invitation that is still good."""
    good = (invitations.c.secret == _hash(secret), invitations.c.used.is_(False), invitations.c.until >= store.now())
    with store.reading() as connection:
        return connection.scalar(sql.select(invitations.c.name).where(*good))


def accept(store: Store, secret: str) -> tuple[str, str] | None:
    """Use an invitation up; returns the name and a token with which to sign in later, None where it is not good.

    Who is known already keeps his labels, gets the role of the invitation, and a new token in place of the old one.
    """
    token = secrets.token_urlsafe(24)
    good = (invitations.c.secret == _hash(secret), invitations.c.used.is_(False), invitations.c.until >= store.now())
    with store.writing() as connection:
        found = connection.execute(sql.select(invitations.c.name, invitations.c.role).where(*good)).one_or_none()
        taken = connection.execute(invitations.update().where(*good).values(used=True)).rowcount
        if found is None or not taken:  # of two who use it at once, one comes in
            return None
        insert_new(connection, labelers, [{"name": found.name, "kind": "person", "role": found.role, "excluded": False,
                                           "created": store.moment()}])
        mine = labelers.update().where(labelers.c.name == found.name)
        connection.execute(mine.values(secret=_hash(token), role=found.role))
        note(store, connection, found.name, "invitation accepted", found.name, role=found.role)
    return found.name, token


def knows_token(store: Store, name: str, token: str) -> bool:
    """Whether a name and a token belong together. Takes the same time for a name that nobody has."""
    with store.reading() as connection:
        kept = connection.scalar(sql.select(labelers.c.secret).where(labelers.c.name == name))
    return secrets.compare_digest(kept or _hash(""), _hash(token)) and kept is not None


def open_session(store: Store, labeler: str, hours: float) -> str:
    """The secret of a new session, for the browser's cookie; sessions that have run out are removed on the way."""
    secret = secrets.token_urlsafe(24)
    with store.writing() as connection:
        connection.execute(sessions.delete().where(sessions.c.until < store.now()))
        row = {"secret": _hash(secret), "labeler": labeler, "form": secrets.token_urlsafe(24),
               "until": store.now() + hours * 3600}
        connection.execute(sessions.insert().values(row))
        note(store, connection, labeler, "signed in", labeler)
    return secret


def session_of(store: Store, secret: str) -> Session | None:
    """Who a cookie's secret belongs to, with the role that he has at this moment."""
    with store.reading() as connection:
        row = connection.execute(SESSION, {"secret": _hash(secret), "now": store.now()}).one_or_none()
    return Session(*row) if row else None


def close_session(store: Store, secret: str) -> None:
    """Sign out."""
    mine = sessions.c.secret == _hash(secret)
    with store.writing() as connection:
        labeler = connection.scalar(sql.select(sessions.c.labeler).where(mine))
        if labeler is not None:
            connection.execute(sessions.delete().where(mine))
            note(store, connection, labeler, "signed out", labeler)


def close_sessions_of(store: Store, labeler: str, who: str) -> None:
    """Sign a labeler out everywhere, and let his token be good for nothing."""
    with store.writing() as connection:
        connection.execute(sessions.delete().where(sessions.c.labeler == labeler))
        connection.execute(labelers.update().where(labelers.c.name == labeler).values(secret=None))
        note(store, connection, who, "locked out", labeler)
