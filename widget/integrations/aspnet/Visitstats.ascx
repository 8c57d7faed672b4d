<%@ Control Language="C#" ClassName="VisitstatsControl" EnableViewState="false" %>
<%@ Import Namespace="System.Collections.Generic" %>
<%@ Import Namespace="System.Text.RegularExpressions" %>
<%@ Import Namespace="System.Web.UI.HtmlControls" %>
<script runat="server">
    // The counter of visitstats for ASP.NET Web Forms, SharePoint and DNN: one file, no assembly. License: MIT.
    // C# 5, which the compiler of .NET Framework 4 understands.

    // Starts the download of the widget without holding up the page's load event.
    private const string Loader = "!function(w,d,u){function e(n){return d.createElement(n)}"
        + "function g(){var a=u,s=e('script');u=0;if(a)try{s.async=1;s.src=a;h.appendChild(s)}catch(x){}}"
        + "var h=d.documentElement,l=e('link');l.rel='preload';l.as='script';l.href=u;l.onload=g;h.appendChild(l);"
        + "d.readyState=='complete'?g():w.addEventListener('load',g)}(window,document,'%s/widget.js')";

    /// <summary>Address of the service: /vs, or https://counter.example.vn.</summary>
    public string Api { get; set; }

    /// <summary>The site's id. (A control has a property Site already.)</summary>
    public string SiteId { get; set; }

    /// <summary>More attributes of the snippet, as `visitstats site embed` prints them: data-lines="online,total" …</summary>
    public string Options { get; set; }

    /// <summary>The article that is shown: its key (empty: its address decides), and what editors see of it.</summary>
    public string Key { get; set; }
    public string Author { get; set; }
    public string Category { get; set; }
    /// <summary>As 2022-07-22, or with a time.</summary>
    public string Published { get; set; }

    /// <summary>Take what is not said here from the item that SharePoint shows, and from these of its fields.</summary>
    public bool FromSharePoint { get; set; }
    public string AuthorField { get; set; }
    public string CategoryField { get; set; }
    public string PublishedField { get; set; }

    /// <summary>The key or address of another article: then this control is nothing but the place of its count.</summary>
    public string ViewsOf { get; set; }

    protected override void OnPreRender(EventArgs e)
    {
        base.OnPreRender(e);
        if (ViewsOf != null) return;
        if (FromSharePoint) TakeItem();
        if (Page == null || Page.Header == null) return;
        AddMeta("name", "visitstats-key", Key);
        AddMeta("name", "author", Author);
        AddMeta("property", "article:section", Category);
        AddMeta("property", "article:published_time", Published);
    }

    protected override void Render(HtmlTextWriter writer)
    {
        if (ViewsOf != null)
        {
            writer.Write("<span data-vs-views=\"" + Encode(ViewsOf) + "\">—</span>");
            return;
        }
        string api = (Api ?? "").TrimEnd('/');
        if (!Regex.IsMatch(api, @"^(https?:/)?/[A-Za-z0-9_./:\[\]-]+\z") || !Regex.IsMatch(SiteId ?? "", @"^[a-z0-9-]{1,63}\z")) return;
        var options = Said();
        string theme = Value(options, "theme", "");
        if (theme != "") writer.Write("<link rel=\"stylesheet\" href=\"" + Encode(api) + "/widget/themes/box.css\">\n");
        writer.Write("<script data-visitstats data-api=\"" + Encode(api) + "\" data-site=\"" + SiteId + "\"");
        // In a page without <head runat="server"> the key has no other place.
        if (!string.IsNullOrEmpty(Key) && (Page == null || Page.Header == null)) writer.Write(" data-key=\"" + Encode(Key) + "\"");
        foreach (var option in options) writer.Write(" data-" + option.Key + "=\"" + Encode(option.Value) + "\"");
        writer.Write(">\n" + Loader.Replace("%s", api) + "\n<" + "/script>");
        WriteFrame(writer, api, options, theme);
    }

    private void WriteFrame(HtmlTextWriter writer, string api, List<KeyValuePair<string, string>> options, string theme)
    {
        string lines = Value(options, "lines", "online,today,week,total");
        if (lines == "") return;
        string query = "lines=" + HttpUtility.UrlEncode(lines) + "&theme=" + HttpUtility.UrlEncode(theme);
        foreach (string name in new[] { "lang", "title", "labels", "format", "structure" })
        {
            string value = Value(options, name, null);
            if (value != null) query += "&" + name + "=" + HttpUtility.UrlEncode(value);
        }
        string title = Value(options, "title", "");
        if (title == "") title = Regex.IsMatch(Value(options, "lang", ""), "^(vi|\\z)", RegexOptions.IgnoreCase) ? "Thống kê truy cập" : "Visitor statistics";
        int height = Regex.IsMatch(theme, @"\bvs-(inline|badge)\b") ? 48 : 70 + 62 * lines.Split(',', '|').Length;
        writer.Write("\n<noscript><iframe src=\"" + Encode(api + "/v1/sites/" + SiteId + "/box?" + query) + "\" title=\""
            + Encode(title) + "\" width=\"100%\" height=\"" + height
            + "\" frameborder=\"0\" loading=\"lazy\"></iframe></noscript>");
    }

    // Names and values of Options, in their order.
    private List<KeyValuePair<string, string>> Said()
    {
        var said = new List<KeyValuePair<string, string>>();
        foreach (Match one in Regex.Matches(" " + Options, @"\sdata-([a-z][a-z0-9-]*)=(?:""([^""]*)""|'([^']*)')"))
        {
            string name = one.Groups[1].Value;
            if (name == "api" || name == "site" || name == "key" || Value(said, name, null) != null) continue;
            said.Add(new KeyValuePair<string, string>(name, HttpUtility.HtmlDecode(one.Groups[2].Value + one.Groups[3].Value)));
        }
        return said;
    }

    private static string Value(List<KeyValuePair<string, string>> said, string name, string usual)
    {
        foreach (var one in said) if (one.Key == name) return one.Value;
        return usual;
    }

    // By name, so that one file serves every version of SharePoint, and portals without it.
    private void TakeItem()
    {
        foreach (var assembly in AppDomain.CurrentDomain.GetAssemblies())
        {
            Type type = assembly.GetName().Name == "Microsoft.SharePoint" ? assembly.GetType("Microsoft.SharePoint.SPContext") : null;
            if (type == null) continue;
            object context = type.GetProperty("Current").GetValue(null, null);
            object item = context == null ? null : type.GetProperty("ListItem").GetValue(context, null);
            if (item == null) return;
            Author = Author ?? Name(Field(item, AuthorField ?? "ArticleByLine") ?? Field(item, "Author"));
            Category = Category ?? Name(Field(item, CategoryField));
            DateTime? moment = Field(item, PublishedField ?? "ArticleStartDate") as DateTime? ?? Field(item, "Created") as DateTime?;
            Published = Published ?? (moment.HasValue ? moment.Value.ToString("s") : null);
        }
    }

    // An empty field is no value, and SharePoint throws for one that a list does not have.
    private static object Field(object item, string name)
    {
        if (string.IsNullOrEmpty(name)) return null;
        try
        {
            object value = item.GetType().GetProperty("Item", new[] { typeof(string) }).GetValue(item, new object[] { name });
            return value == null || value.ToString() == "" ? null : value;
        }
        catch (System.Reflection.TargetInvocationException)
        {
            return null;
        }
    }

    // People and lookups are written "12;#Lê Hiếu", taxonomy terms "Tin tức|3f2a…".
    private static string Name(object value)
    {
        return value == null ? null : Regex.Replace(value.ToString(), @"^\d+;#|\|[0-9a-f-]{36}\z", "");
    }

    private void AddMeta(string attribute, string name, string content)
    {
        if (string.IsNullOrWhiteSpace(content)) return;
        var meta = new HtmlMeta { Content = content };
        meta.Attributes[attribute] = name;
        Page.Header.Controls.Add(meta);
    }

    // HtmlEncode and not HtmlAttributeEncode: that one leaves ">" and, before .NET 4.5, "'" as they are.
    private static string Encode(string text)
    {
        return HttpUtility.HtmlEncode(text);
    }
</script>
