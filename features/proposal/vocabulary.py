"""The words by which exports call the tables, columns and values of the contract.

Names are compared squashed: without case, spaces and signs. The first name of a column is the likeliest.
"""

from __future__ import annotations

import re
from types import MappingProxyType

# Whole words of a source's name.
TABLES = MappingProxyType(
    {
        "accounts": "accounts account customers customer companies company clients client organizations "
        "organization organisations organisation households household tenants tenant crm kunden kunde workspaces "
        "subscribers members",
        "tickets": "tickets ticket cases case conversations conversation support desk helpdesk zendesk issues requests "
        "incidents anfragen complaints",
        "usage": "usage events event activity activities product tracks track sessions logins pageviews actions daily "
        "nutzung telemetry segment amplitude",
        "purchases": "purchases purchase invoices invoice orders order charges payments transactions billing sales "
        "subscriptions contracts rechnungen bestellungen stripe receipts",
        "touches": "touches touch calls meetings tasks engagements campaigns visits interactions besuche",
        "rates": "rates rate fx currencies exchange kurse wechselkurse",
        "lifetimes": "lifetimes lifetime cancellations churned churn subscriptions memberships contracts",
        "identities": "identities identity mapping idmap xref",
        "people": "people contacts persons stakeholders ansprechpartner",
        "staff": "staff agents technicians",
        "contracts": "contracts agreements vertraege",
        "surveys": "surveys survey nps feedback umfragen",
        "promises": "promises commitments zusagen",
    }
)

COLUMNS: MappingProxyType[str, MappingProxyType[str, str]] = MappingProxyType(
    {
        "accounts": MappingProxyType(
            {
                "account_id": "accountid customerid companyid clientid organizationid organisationid householdid "
                "tenantid id accountno customerno kundennr kundennummer kdnr account customer key uuid",
                "created_at": "createdat createddate created createdate signupdate signedupat signup customersince "
                "since registered registeredat registrationdate startdate joined joinedat angelegt angelegtam "
                "kundeseit datecreated createdon firstseen remotecreatedat",
                "name": "name accountname companyname customername company firma title displayname",
                "owner_email": "owneremail accountowneremail owner accountowner accountmanager accountmanageremail csm "
                "csmemail betreuer repemail salesrep",
                "owner_timezone": "ownertimezone",
                "parent_id": "parentid parentaccountid parentaccount parent",
                "region": "region country billingcountry land territory state market",
                "industry": "industry branche sector vertical",
                "size": "size companysize employees numberofemployees employeecount headcount mitarbeiter segmentsize",
                "plan": "plan planname tier edition product package tarif",
                "seats": "seats licenses licences users lizenzen",
            }
        ),
        "tickets": MappingProxyType(
            {
                "ticket_id": "ticketid id key casenumber caseid number ticketnumber conversationid issuekey nr",
                "opened_at": "openedat createdat created createddate opened opendate dateopened createdate timestamp "
                "submittedat reportedat eroeffnet erstellt erstelltam angelegt datum date",
                "first_response_at": "firstresponseat firstreplyat firstrespondedat initiallyassignedat "
                "firstcontactreplycreatedat firstagentreplydate firstresponsetime",
                "resolved_at": "resolvedat solvedat closedat closeddate closed resolved resolutiondate closedate "
                "geschlossen geloest resolvedon",
                "priority": "priority prio severity urgency prioritaet priorit",
                "topic": "topic category type subjectcategory reason issuetype kategorie thema",
                "channel": "channel viachannel via source origin kanal sourcetype",
                "csat": "csat csatscore satisfaction satisfactionscore rating satisfactionrating "
                "conversationratingvalue",
                "reopened": "reopened isreopened wasreopened",
                "escalated": "escalated isescalated",
                "subject": "subject shortdescription summary betreff",
                "body": "body description message text beschreibung",
                "language": "language locale lang sprache",
                "handled_by": "handledby assigneeemail agentemail assignedtoemail",
                "minutes": "minutes minutesspent timespentminutes handlingminutes handletimeminutes",
                "first_contact_resolved": "firstcontactresolved fcr firstcontactresolution onetouch",
                "first_action": "firstaction",
            }
        ),
        "usage": MappingProxyType(
            {
                "used_at": "usedat timestamp eventtimestamp eventtime occurredat time date day datum originaltimestamp "
                "receivedat createdat ts at loggedat startedat zeit sentat",
                "user_id": "userid user userref email memberid distinctid anonymousid contactid",
                "feature": "feature event eventname eventtype eventtext action name page module screen funktion",
                "count": "count events n hits quantity anzahl total calls",
                "duration_s": "durations durationseconds duration seconds dauer sessionlength",
                "errors": "errors errorcount failures fehler",
                "event_id": "eventid messageid insertid",
            }
        ),
        "purchases": MappingProxyType(
            {
                "purchased_at": "purchasedat invoicedate invoicedat orderdate orderedat paidat createdat created date "
                "purchasedate transactiondate transactiontimestamp startson startdate billingdate bookedat bookedon "
                "closedate datum rechnungsdatum bestelldatum timestamp issuedat issued processedat",
                "amount": "amount total net netamount totalamount totalprice amountpaid amountdue salesvalue revenue "
                "price value subtotal betrag netto summe nettobetrag umsatz mrr monthlyrecurringrevenue",
                "order_id": "orderid invoiceid invoiceno invoicenumber invoice ordernumber number basketid "
                "transactionid rechnungsnr rechnungsnummer belegnr",
                "kind": "kind type ordertype transactiontype invoicetype art",
                "product": "product productname productid plan planname sku item category produkt artikel lineitem",
                "quantity": "quantity qty seats units menge anzahl",
                "currency": "currency currencycode waehrung cur ccy curr",
                "margin": "margin profit grossmargin marge",
                "term_starts_at": "termstartsat periodstart termstart startson serviceperiodstart startdate "
                "currenttermstart subscriptionstart",
                "term_ends_at": "termendsat periodend termend endson serviceperiodend enddate currenttermend "
                "subscriptionend expires expiresat renewaldate",
                "billing_months": "billingmonths billperiodmonths months termmonths",
                "list_price": "listprice listamount originalprice",
                "paid": "paid ispaid paymentstatus status invoicestatus financialstatus",
                "event_id": "lineid lineitemid eventid messageid",
            }
        ),
        "touches": MappingProxyType(
            {
                "touched_at": "touchedat date activitydate createdat timestamp occurredat startdatetime starttime time",
                "kind": "kind type channel activitytype tasksubtype category",
            }
        ),
        "rates": MappingProxyType(
            {
                "currency": "currency cur ccy currencycode code waehrung fromcurrency",
                "day": "day date datum validfrom asof month",
                "per_unit": "perunit rate eur usd gbp value kurs exchangerate fxrate",
            }
        ),
        "lifetimes": MappingProxyType(
            {
                "started_at": "startedat conversiondate startdate starteddate startson start subscriptionstart "
                "createdat created begin beginn signupdate",
                "ended_at": "endedat canceldate cancelledat canceledat cancellationdate cancelledon cancelleddate "
                "enddate endson churndate churnedat terminationdate ended cancelled kuendigung gekuendigtam",
            }
        ),
        "people": MappingProxyType(
            {
                "person_id": "personid contactid id",
                "since": "since createdat createddate created startdate createdate",
                "name": "name fullname contactname",
                "email": "email emailaddress mail",
                "role": "role jobrole buyingrole contactrole",
                "until": "until leftat left enddate departedat",
            }
        ),
        "staff": MappingProxyType(
            {
                "email": "email emailaddress mail",
                "team": "team group department abteilung",
                "role": "role level",
                "manager": "manager manageremail reportsto",
                "timezone": "timezone tz",
                "country": "country land",
                "rate_per_hour": "rateperhour hourlyrate costperhour stundensatz",
                "currency": "currency currencycode",
                "until": "until leftat left enddate",
            }
        ),
        "contracts": MappingProxyType(
            {
                "contract_id": "contractid id contractnumber number agreementid",
                "starts": "starts startdate startson start begin validfrom",
                "ends": "ends enddate endson end expires validuntil",
                "notice_until": "noticeuntil noticedate noticedeadline noticeby cancelby kuendigungsfrist",
                "auto_renew": "autorenew autorenewal isautorenew renewsautomatically",
                "value": "value contractvalue totalvalue tcv amount",
                "currency": "currency currencycode",
                "replaces": "replaces previouscontract previouscontractid predecessor",
            }
        ),
        "surveys": MappingProxyType(
            {
                "at": "at answeredat respondedat submittedat createdat date",
                "kind": "kind type surveytype survey",
                "person_id": "personid contactid respondentid",
                "score": "score rating value answer",
                "text": "text comment feedback verbatim",
            }
        ),
        "promises": MappingProxyType(
            {
                "made_at": "madeat promisedat createdat created date",
                "due": "due dueat duedate deadline",
                "by": "by madeby owner",
                "text": "text promise description what",
                "kept_at": "keptat doneat completedat fulfilledat",
            }
        ),
        "identities": MappingProxyType(
            {
                "system": "system source sourcesystem application",
                "external_id": "externalid foreignid id externalkey",
                "valid_from": "validfrom since from",
                "valid_until": "validuntil until validto to",
            }
        ),
    }
)

# Columns that name the account of a row, the likeliest first.
ACCOUNTS = [
    "accountid",
    "customerid",
    "companyid",
    "organizationid",
    "organisationid",
    "clientid",
    "tenantid",
    "householdid",
    "account",
    "customer",
    "company",
    "organization",
    "client",
    "tenant",
    "workspaceid",
    "groupid",
    "accountno",
    "customerno",
    "customernumber",
    "kundennr",
    "kundennummer",
    "kdnr",
    "kunde",
    "cust",
    "custid",
    "domain",
    "requesteremail",
    "requester",
    "reporter",
    "contactemail",
    "customeremail",
    "useremail",
    "email",
    "contactid",
    "userid",
    "requesterid",
    "authorid",
    "contact",
    "user",
    "subscriptionid",
    "orderid",
    "invoiceid",
]
# Entities that other tables are about, not attributes of accounts.
_COUNTERS = re.compile(
    r"count|total|number_?of|sum|orders|spent|lifetime|last_?|score|balance|mrr|arr\b|revenue|visits"
)
_ANSWERS = re.compile(
    r"churn|cancel|ended|lost|terminat|left_|inactive|active\b|^status$|lifecycle|kuendig|closed|delet|renewed|health"
)

PRIORITIES = MappingProxyType(
    {
        "urgent": "urgent p1 p0 critical blocker highest emergency sev1 severity1 1 dringend kritisch immediate",
        "high": "high p2 major important sev2 severity2 2 hoch priority",
        "normal": "normal p3 medium moderate standard sev3 severity3 3 mittel notpriority none default",
        "low": "low p4 p5 minor trivial lowest sev4 severity4 4 5 niedrig gering question",
    }
)
KINDS = MappingProxyType(
    {
        "new": "new newbusiness newcustomer subscriptioncreate initial create new_business first neu",
        "renewal": "renewal renew subscriptioncycle recurring existingbusinessrenewal verlaengerung subscription",
        "expansion": "expansion upsell upgrade addon crosssell subscriptionupdate existingbusinessupgrade erweiterung",
        "contraction": "contraction downgrade downsell existingbusinessdowngrade reduction",
        "refund": "refund refunded credit creditnote return chargeback storno gutschrift",
    }
)
SURVEY_KINDS = MappingProxyType(
    {
        "nps": "nps netpromoterscore recommendation relationship",
        "csat": "csat satisfaction customersatisfaction",
        "ces": "ces effort customereffort",
    }
)
PAID = MappingProxyType(
    {
        "true": "paid succeeded success settled complete completed bezahlt partiallyrefunded refunded",
        "false": "open unpaid pending due overdue pastdue offen sent posted notpaid authorized partiallypaid",
    }
)
# Statuses of bills that are none.
NO_BILL = frozenset(
    [
        "void",
        "voided",
        "draft",
        "uncollectible",
        "failed",
        "cancelled",
        "canceled",
        "deleted",
        "test",
        "storniert",
        "entwurf",
        "reversed",
    ]
)
PUBLIC_DOMAINS = [
    "gmail.com",
    "googlemail.com",
    "yahoo.com",
    "hotmail.com",
    "outlook.com",
    "live.com",
    "icloud.com",
    "aol.com",
    "gmx.de",
    "gmx.net",
    "web.de",
    "t-online.de",
    "protonmail.com",
    "proton.me",
    "mail.ru",
    "yandex.ru",
    "qq.com",
    "163.com",
    "msn.com",
    "me.com",
    "yahoo.co.uk",
    "orange.fr",
]


def squash(name: str) -> str:
    """Return a name without case, spaces and signs.

    Examples:
        >>> squash("Created (UTC)"), squash("property_createdate"), squash("Größe")
        ('createdutc', 'createdate', 'groesse')
    """
    plain = name.lower()
    for letter, letters in (("ä", "ae"), ("ö", "oe"), ("ü", "ue"), ("ß", "ss")):
        plain = plain.replace(letter, letters)
    plain = re.sub(r"^(property|properties)(_+|\.)", "", plain)
    return re.sub(r"[^a-z0-9]", "", plain)


def rank_name(name: str, wanted: str, prefixes: tuple[str, ...] = ()) -> float:
    """Return how likely a raw name means a column, 0 for not at all, 1 for its first name."""
    names, plain = wanted.split(), squash(name)
    for variant in (plain, *(plain.removeprefix(p) for p in prefixes if plain != p)):
        if variant in names:
            return 1 - 0.5 * names.index(variant) / len(names)
    return 0.0


def find_map(values: list[str], words: MappingProxyType[str, str]) -> dict[str, str]:
    """Return raw to canonical value for those of the values that a vocabulary knows and that differ from it."""
    known = {word: canonical for canonical, some in words.items() for word in some.split()}
    found = {v: known[s] for v in values if (s := re.sub(r"[^a-z0-9]", "", v.lower())) in known}
    return {v: c for v, c in found.items() if v != c}


def is_counter(name: str) -> bool:
    """Return whether an attribute's name speaks of what the export's day has counted up."""
    return bool(_COUNTERS.search(name.lower()))


def is_answer(name: str) -> bool:
    """Return whether a name speaks of what became of an account."""
    return bool(_ANSWERS.search(name.lower()))
