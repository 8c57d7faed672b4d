// As much of SharePoint as the control looks for: the item that is shown, whose list has no field but these.
using System;

namespace Microsoft.SharePoint
{
    public class SPListItem
    {
        public object this[string name]
        {
            get
            {
                switch (name)
                {
                    case "ArticleByLine": return "";
                    case "Author": return "12;#Lê Hiếu <b>";
                    case "ChuyenMuc": return "Tin tức|3f2a1c44-0000-4000-8000-000000000000";
                    case "ArticleStartDate": return new DateTime(2022, 7, 22, 8, 0, 0);
                }
                throw new ArgumentException(name);
            }
        }

        public object this[int index] { get { return null; } }
        public object this[Guid id] { get { return null; } }
    }

    public class SPContext
    {
        public static SPContext Current { get { return new SPContext(); } }
        public SPListItem ListItem { get { return new SPListItem(); } }
    }
}
