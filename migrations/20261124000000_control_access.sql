-- Who may do what, and who did.

create table tokens (
    token_id text not null,
    secret_sha256 bytea not null,
    scope text not null,
    name text,
    domains text[],
    created_at timestamptz not null default now(),
    expires_at timestamptz,
    last_used_at timestamptz,
    revoked_at timestamptz,
    constraint tokens_pkey primary key (token_id),
    constraint tokens_scope_check check (scope in ('read', 'ingest', 'admin')),
    -- An empty list must never be read as "all".
    constraint tokens_domains_check check (cardinality(domains) > 0)
);
comment on table tokens is 'One row per token that lets somebody in, those that do no longer included.';
comment on column tokens.token_id is 'The part of the token that is no secret: ruad_<token_id>_<secret>.';
comment on column tokens.secret_sha256 is
    'SHA-256 of the secret, which is 256 random bits: nobody finds it by trying, so nothing slower is needed.';
comment on column tokens.scope is 'read (all answers), ingest (only uploads) or admin (everything).';
comment on column tokens.name is 'What it is for, in the words of whoever made it.';
comment on column tokens.domains is 'The policy domains it is restricted to, each with the names below it; null for all.';
comment on column tokens.expires_at is 'From when on it is refused; null for never.';
comment on column tokens.last_used_at is 'When it was last used, to the minute.';
comment on column tokens.revoked_at is 'Since when it is refused; null as long as it is not.';

create table sessions (
    secret_sha256 bytea not null,
    token_id text,
    subject text,
    name text,
    scope text,
    domains text[],
    created_at timestamptz not null default now(),
    expires_at timestamptz not null,
    constraint sessions_pkey primary key (secret_sha256),
    constraint sessions_token_id_fkey foreign key (token_id) references tokens on delete cascade,
    constraint sessions_holder_check check (
        case when token_id is null
            then subject is not null and scope is not null
            else subject is null and name is null and scope is null and domains is null
        end
    ),
    constraint sessions_scope_check check (scope in ('read', 'ingest', 'admin')),
    -- An empty list must never be read as "all".
    constraint sessions_domains_check check (cardinality(domains) > 0)
);
create index sessions_by_token on sessions (token_id);
comment on table sessions is
    'One row per browser that is signed in: with a token, and then it may do what that may for as long as it is not refused; or as '
    'an identity of an OpenID provider, and then it may do what it was granted when it signed in.';
comment on column sessions.secret_sha256 is 'SHA-256 of what the cookie holds, which is 256 random bits.';
comment on column sessions.token_id is 'The token it was begun with; null for an identity.';
comment on column sessions.subject is 'The identity: what the provider calls it (sub); null for a token.';
comment on column sessions.name is 'The name of the identity, as the provider told it.';
comment on column sessions.scope is 'What the identity was granted; null for a token, whose scope counts.';
comment on column sessions.domains is 'The policy domains that the identity is restricted to; null for all, and for a token.';
comment on column sessions.expires_at is 'When the browser has to sign in anew.';

create table audit (
    audit_id bigint generated always as identity,
    at timestamptz not null default now(),
    actor text not null,
    actor_name text,
    action text not null,
    subject text,
    detail jsonb,
    address inet,
    constraint audit_pkey primary key (audit_id)
);
comment on table audit is
    'One row per change that somebody made through the API or the command line, and per sign-in. What is taken in is in deliveries.';
comment on column audit.actor is
    'token_id; oidc:<sub> for an identity of an OpenID provider; cli for the command line; open where no token is asked for; serve for ruad serve itself; nobody for a sign-in that failed.';
comment on column audit.actor_name is 'The name of the token, or of the identity, then.';
comment on column audit.action is 'What was done, in a stable word such as delivery_discarded.';
comment on column audit.subject is 'What it was done to: an id.';
comment on column audit.address is 'Where the request came from; null for the command line.';

-- Finds the names below a domain: they begin alike when they are read backwards.
create index domains_by_suffix on domains ((reverse(name)) collate "C");
