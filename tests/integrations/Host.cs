// A web server's part of ASP.NET: renders the pages that are named, of the folder that is named, one after another.
using System;
using System.IO;
using System.Web;
using System.Web.Hosting;

public class Host : MarshalByRefObject
{
    public string Get(string page)
    {
        var answer = new StringWriter();
        HttpRuntime.ProcessRequest(new SimpleWorkerRequest(page, "", answer));
        return answer.ToString();
    }

    static void Main(string[] given)
    {
        var host = (Host) ApplicationHost.CreateApplicationHost(typeof(Host), "/", given[0]);
        Console.OutputEncoding = new System.Text.UTF8Encoding(false);
        for (int i = 1; i < given.Length; i++) Console.Out.Write(host.Get(given[i]) + "\f");
        Console.Out.Flush();
        Environment.Exit(0);
    }
}
