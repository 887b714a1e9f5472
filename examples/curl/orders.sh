#!/bin/sh
# Place an order, send it again by mistake, look at it, cancel one, let one wait, and read a refusal. Needs curl only.
set -eu
URL="${FILLWRIGHT_URL:-http://127.0.0.1:3000}"
if [ -n "${FILLWRIGHT_API_KEY:-}" ]; then set -- -H "Authorization: Bearer $FILLWRIGHT_API_KEY"; fi

post() {
  path="$1"; body="$2"; shift 2
  curl --silent --show-error --retry 3 "$URL$path" -H 'Content-Type: application/json' --data "$body" "$@"
}
id_of() { sed 's/.*"orderId":"\([^"]*\)".*/\1/'; }

echo "# a quote, then an order under a key of our own; sent twice, it is accepted once"
post /v1/quotes '{"pair":"SOL/USDC","side":"sell","amount":"1.5"}' "$@"; echo
KEY="example-$(date +%s)-$$"
FIRST=$(post /v1/orders '{"pair":"SOL/USDC","side":"sell","amount":"1.5","slippageBps":50}' -H "Idempotency-Key: $KEY" "$@" | id_of)
AGAIN=$(post /v1/orders '{"pair":"SOL/USDC","side":"sell","amount":"1.5","slippageBps":50}' -H "Idempotency-Key: $KEY" "$@" | id_of)
echo "first  $FIRST"
echo "again  $AGAIN"
[ "$FIRST" = "$AGAIN" ]

echo "# its steps so far, and the route with every quote that was compared"
curl --silent --show-error "$URL/v1/orders/$FIRST/events" "$@"; echo
curl --silent --show-error "$URL/v1/orders/$FIRST/route" "$@"; echo

echo "# cancel another one: 200 canceled, 202 in flight, or 409 too late"
OTHER=$(post /v1/orders '{"pair":"SOL/USDC","side":"buy","amount":"2"}' "$@" | id_of)
post "/v1/orders/$OTHER/cancel" '' "$@"; echo

echo "# one that waits for its price: it is amended as it was seen (its ETag), and canceled"
WAITS=$(post /v1/orders '{"pair":"SOL/USDC","side":"sell","amount":"1","type":"limit","limitPrice":"100000"}' "$@" | id_of)
TRIES=0
until curl --silent "$URL/v1/orders/$WAITS" "$@" | grep -q '"status":"open"' || [ "$TRIES" -ge 50 ]; do TRIES=$((TRIES + 1)); sleep 0.1; done
TAG=$(curl --silent --output /dev/null --dump-header - "$URL/v1/orders/$WAITS" "$@" | tr -d '\r' | sed -n 's/^[Ee][Tt]ag: //p')
curl --silent --show-error "$URL/v1/orders/$WAITS/explain" "$@"; echo
post "/v1/orders/$WAITS" '{"limitPrice":"90000"}' -X PATCH -H "If-Match: $TAG" "$@"; echo
post "/v1/orders/$WAITS/cancel" '' "$@"; echo

echo "# a refusal is a problem document (RFC 9457) that names the field"
post /v1/orders '{"pair":"SOL/USDC","side":"sell","amount":"-1"}' "$@"; echo

echo "# the last two orders"
curl --silent --show-error "$URL/v1/orders?limit=2" "$@"; echo
